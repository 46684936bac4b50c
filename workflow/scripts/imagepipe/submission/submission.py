"""The competition's submission file, from the logits of one or several models."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imagepipe.config.dataset import Submission
from imagepipe.dataset.submission_form import Form, read_form
from imagepipe.files import write_text
from imagepipe.prediction.logits import Predictions


def write_submission(
    predictions: Sequence[Predictions],
    sample: Path | None,
    options: Submission,
    target: Path,
    image_extension: str = "png",
) -> None:
    """Average the models' probabilities, and write the submission to `target`.

    The text is checked against the sample submission first. Raises `UserError` if the test images
    are not those of the sample submission.
    """
    ids, classes, probabilities = average(predictions)
    form = read_form(sample, options, ids, classes, image_extension)
    text = submission_text(form, ids, classes, probabilities, options.format)
    check_submission(text, form, classes, options.format)
    write_text(target, text)


def average(
    predictions: Sequence[Predictions],
) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """Return ids, classes and the models' mean probabilities, float64 [N, classes]."""
    first = predictions[0]
    total = np.zeros(first.logits.shape, dtype=np.float64)
    for one in predictions:
        if not (np.array_equal(one.ids, first.ids) and np.array_equal(one.classes, first.classes)):
            raise ValueError("the models have predicted other images or other classes")
        total += softmax(one.logits)
    return tuple(map(str, first.ids)), tuple(map(str, first.classes)), total / len(predictions)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, float64 [N, classes], of logits [N, classes]."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def submission_text(
    form: Form, ids: Sequence[str], classes: Sequence[str], probabilities: np.ndarray, format: str
) -> str:
    """Return the submission as CSV text, its rows and columns in the order of the form."""
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(form.header)
    if format == "probability":
        columns = [classes.index(name) for name in form.header[1:]]
        for written_id, image_id in form.ids.items():
            values = probabilities[row_of[image_id], columns]
            writer.writerow([written_id, *(f"{value:.9f}" for value in values)])
    else:
        best = probabilities.argmax(axis=1)
        for written_id, image_id in form.ids.items():
            writer.writerow([written_id, classes[best[row_of[image_id]]]])
    return output.getvalue()


def check_submission(text: str, form: Form, classes: Sequence[str], format: str) -> None:
    """Raise `ValueError` if header, ids or values of a submission are not those of the form."""
    header, *rows = csv.reader(io.StringIO(text))
    if tuple(header) != form.header:
        raise ValueError(f"the header is {header}, not {form.header}")
    if [row[0] for row in rows] != list(form.ids):
        raise ValueError("the ids are not those of the sample submission, in its order")
    for row in rows:
        if format == "probability":
            if abs(sum(map(float, row[1:])) - 1) > 1e-6 * len(classes):
                raise ValueError(f"the probabilities of id {row[0]} do not add up to 1")
        elif row[1] not in classes:
            raise ValueError(f"{row[1]!r} is not a class")
