"""The competition's submission file, from the logits of one or several models."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imagepipe.dataset.manifests import TEST_COLUMNS
from imagepipe.dataset.submission_form import SubmissionForm
from imagepipe.errors import UserError, quoted
from imagepipe.files import read_rows, write_text
from imagepipe.metrics.decisions import NO_THRESHOLDS, Thresholds, decide
from imagepipe.prediction.logits import Predictions, mean_probabilities


def write_submission(
    predictions: Sequence[Predictions],
    form: SubmissionForm,
    test_table: Path,
    target: Path,
    thresholds: Thresholds = NO_THRESHOLDS,
) -> None:
    """Average the models' probabilities, and write the submission to `target`.

    `test_table` has the test images' ids, and those of the submission, in its order. The text is
    checked first. Raises `UserError` if an image of the table has no prediction.
    """
    probabilities = mean_probabilities(predictions)
    classes: list[str] = predictions[0].classes.tolist()
    several = predictions[0].several_labels
    row_of = {image_id: row for row, image_id in enumerate(predictions[0].ids.tolist())}
    rows: dict[str, int] = {}
    for line, (image_id, written_id) in read_rows(test_table, TEST_COLUMNS):
        if image_id not in row_of:
            raise UserError(
                f"{test_table}: row {line}: the image {quoted(image_id)} has no prediction; "
                "run again with --forcerun pack"
            )
        rows[written_id] = row_of[image_id]
    in_order = probabilities[list(rows.values())]
    values = form_values(form, classes, in_order, thresholds, several_labels=several)
    text = submission_text(form, list(rows), values)
    check_submission(text, form, list(rows), classes, several_labels=several)
    write_text(target, text)


def form_values(
    form: SubmissionForm,
    classes: Sequence[str],
    probabilities: np.ndarray,
    thresholds: Thresholds = NO_THRESHOLDS,
    *,
    several_labels: bool = False,
) -> list[list[str]]:
    """Return the fields beside the id, a row for each row of probabilities [N, classes]."""
    if form.name == "probability":
        chances = probabilities[:, classes.index(str(form.positive))]
        return [[f"{chance:.9f}"] for chance in chances]
    if form.name == "probabilities":
        columns = _columns(form, classes, probabilities, several_labels=several_labels)
        return [[f"{chance:.9f}" for chance in row] for row in columns]
    separator = form.separator or " "
    if form.name == "top_k":
        ranking = np.argsort(-probabilities, axis=1, kind="stable")[:, : form.k]
        return [[separator.join(classes[c] for c in row)] for row in ranking]
    chosen = decide(probabilities, classes, thresholds, several_labels=several_labels)
    if form.name == "several_labels" and several_labels:
        return [[separator.join(classes[int(c)] for c in np.flatnonzero(row))] for row in chosen]
    if several_labels:  # a form of one label
        chosen = probabilities.argmax(axis=1)
    return [[classes[c]] for c in chosen]


def _columns(
    form: SubmissionForm,
    classes: Sequence[str],
    probabilities: np.ndarray,
    *,
    several_labels: bool,
) -> np.ndarray:
    """Return the probabilities of the form's columns, 0 for a class without training images."""
    values = np.zeros((len(probabilities), len(form.columns)))
    for column, name in enumerate(form.columns):
        if name is not None:
            values[:, column] = probabilities[:, classes.index(name)]
    if not several_labels and set(classes) - set(form.columns):
        values /= np.maximum(values.sum(axis=1, keepdims=True), 1e-12)
    return values


def submission_text(
    form: SubmissionForm, ids: Sequence[str], values: Sequence[Sequence[str]]
) -> str:
    """Return the submission as CSV text."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(form.header)
    writer.writerows([written_id, *row] for written_id, row in zip(ids, values, strict=True))
    return output.getvalue()


def check_submission(
    text: str,
    form: SubmissionForm,
    ids: Sequence[str],
    classes: Sequence[str],
    *,
    several_labels: bool = False,
) -> None:
    """Raise `ValueError` if header, ids or values of a submission are not those of the form."""
    header, *rows = csv.reader(io.StringIO(text))
    if tuple(header) != form.header:
        raise ValueError(f"the header is {header}, not {form.header}")
    if [row[0] for row in rows] != list(ids):
        raise ValueError("the ids are not those of the test images, in their order")
    is_number, known = form.name in ("probabilities", "probability"), set(classes)
    for written_id, *values in rows:
        if len(values) != len(header) - 1:
            raise ValueError(f"id {written_id} has {len(values)} values")
        if is_number:
            numbers = [float(value) for value in values]
            if not all(0 <= number <= 1 for number in numbers):
                raise ValueError(f"there is no probability in 0…1 of id {written_id}")
            adds_up = abs(sum(numbers) - 1) <= 1e-6 * len(numbers)
            if form.name == "probabilities" and not several_labels and not adds_up:
                raise ValueError(f"the probabilities of id {written_id} do not add up to 1")
        else:
            _check_labels(written_id, values[0], form, known)


def _check_labels(written_id: str, field: str, form: SubmissionForm, classes: set[str]) -> None:
    labels = [field]
    if form.name in ("top_k", "several_labels"):
        labels = field.split(form.separator or " ") if field else []
    if unknown := set(labels) - classes:
        raise ValueError(f"{unknown} of id {written_id} is not a class")
    if len(set(labels)) != len(labels):
        raise ValueError(f"id {written_id} has a class twice")
    if form.name == "top_k" and len(labels) != min(form.k or 1, len(classes)):
        raise ValueError(f"id {written_id} has {len(labels)} labels")
