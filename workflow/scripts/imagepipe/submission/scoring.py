"""The score of a submission whose true labels are known."""

import json
from collections.abc import Mapping
from pathlib import Path

from imagepipe.config.dataset import LabelTable
from imagepipe.config.metric_names import metric_words
from imagepipe.dataset.forms import is_probability
from imagepipe.dataset.label_kinds import divided
from imagepipe.dataset.submission_form import MetricChoice, SubmissionForm
from imagepipe.dataset.tables import read_header, read_table
from imagepipe.errors import UserError, quoted
from imagepipe.files import nfc, read_rows, write_text
from imagepipe.submission.evaluating import evaluate
from imagepipe.submission.image_ids import matching_ids

Score = dict[str, float | int | str | None]


def score(
    submission: Path,
    true_labels: Path,
    form: SubmissionForm,
    metric: MetricChoice,
    table: LabelTable | None = None,
    encoding: str = "utf-8",
    *,
    several: bool = False,
) -> Score:
    """Return the accuracy in 0…1, the metric (by its name, which is `metric`) and n, the images.

    `true_labels` is as `read_truth` takes it; `several` says that an image may have several labels.
    Raises `UserError` if the files have different images.
    """
    guesses: dict[str, list[str]] = {}
    rows: dict[str, int] = {}
    for row, (written_id, *values) in read_rows(submission, form.header):
        guesses[written_id], rows[written_id] = values, row
    truth = read_truth(true_labels, form, table, encoding)
    match = matching_ids(list(guesses), list(truth))
    for written_id, row in rows.items():
        if written_id not in match:
            raise UserError(
                f"{submission}: row {row}: the id {quoted(written_id)} is not in {true_labels}; "
                "get the true labels of this test set"
            )
    if len(match) != len(truth):
        raise UserError(
            f"{true_labels}: has {len(truth)} labels for {len(match)} test images; "
            "get the true labels of this test set"
        )
    pairs = [(values, truth[match[written_id]]) for written_id, values in guesses.items()]
    accuracy, value = evaluate(form, metric, *zip(*pairs, strict=True), several=several)
    return {
        "accuracy": accuracy,
        metric.name: value,
        "metric": metric.name,
        "n": len(pairs),
    }


def read_truth(
    path: Path, form: SubmissionForm, table: LabelTable | None, encoding: str = "utf-8"
) -> dict[str, tuple[str, ...]]:
    """Return {id: the image's labels} of a file of true labels.

    It is in the form of the submission (with one probability, 1 stands for the positive class), has
    the columns of `table`, or a column of 0 and 1 for each class. Raises `UserError` for another
    file, or an id that comes twice.
    """
    header = read_header(path, encoding)
    where: Mapping[str, str] = {}
    columns: list[str | None]
    if set(form.header) <= set(header):
        columns, separator = list(form.header), form.separator
    elif table and table.label_column in header and table.id_column in (None, *header):
        columns, separator = [table.id_column, table.label_column], table.separator
        where = table.where if set(table.where) <= set(header) else {}
    elif form.header[0] in header and len(header) >= 2:
        others = [name for name in header if name != form.header[0]]
        columns, separator = [form.header[0], *others], form.separator
    else:
        wanted = ", ".join(form.header[:5])
        also = f", nor {table.id_column} and {table.label_column}" if table else ""
        raise UserError(
            f"{path}: row 1: has neither the columns of the submission, {quoted(wanted)}{also} "
            f"(found: {quoted(', '.join(header))}); correct the header"
        )
    classes = dict(zip(form.header[1:], form.columns, strict=False))
    names = [classes.get(str(name)) or str(name) for name in columns[1:]]
    truth: dict[str, tuple[str, ...]] = {}
    for row, (image_id, *fields) in read_table(path, columns, where=where, encoding=encoding):
        if image_id in truth:
            raise UserError(
                f"{path}: row {row}: the id {quoted(image_id)} is there twice; remove one"
            )
        if len(fields) > 1:
            numbers = [_number(path, row, field) for field in fields]
            labels = [name for name, number in zip(names, numbers, strict=True) if number >= 0.5]
        else:
            labels = [*divided(fields[0], separator)] if separator else fields
        truth[image_id] = tuple(nfc(label) for label in labels if label)
    if not truth:
        raise UserError(f"{path}: has no rows; get the file again")
    if form.name == "probability" and len(columns) == 2 and columns[1] in form.header:
        return _of_probabilities(truth, str(form.positive))
    return truth


def _of_probabilities(
    truth: Mapping[str, tuple[str, ...]], positive: str
) -> dict[str, tuple[str, ...]]:
    """Return the classes of fields in 0…1, where 1 stands for the positive class.

    If some field is no such number, all are classes already, such as 1 and 2.
    """
    if not all(is_probability(label) for labels in truth.values() for label in labels):
        return dict(truth)
    return {
        image_id: tuple(positive if float(label) >= 0.5 else f"not {positive}" for label in labels)
        for image_id, labels in truth.items()
    }


def _number(path: Path, row: int, field: str) -> float:
    try:
        return float(field)
    except ValueError:
        raise UserError(
            f"{path}: row {row}: {quoted(field)} is not a number; get the true labels again"
        ) from None


def score_line(result: Score) -> str:
    """Return a line for the log, such as "log loss 0.4123, accuracy 0.8700 on 100 images"."""
    name = str(result["metric"])
    parts = [(metric_words(key), result[key]) for key in dict.fromkeys((name, "accuracy"))]
    known = (f"{words} {value:.4f}" for words, value in parts if isinstance(value, float))
    return f"{', '.join(known)} on {result['n']:,} images"


def write_score(path: Path, result: Mapping[str, object]) -> None:
    """Write score.json."""
    write_text(path, json.dumps(result, indent=2, sort_keys=True) + "\n")
