"""The score of a submission whose true labels are known."""

import json
from pathlib import Path

from imagepipe.dataset.labels import read_labels
from imagepipe.dataset.submission_form import read_header
from imagepipe.errors import UserError
from imagepipe.files import read_rows, write_text


def score(
    submission: Path,
    true_labels: Path,
    id_column: str,
    label_column: str,
    image_extension: str = "png",
) -> dict[str, float | int]:
    """Return the top-1 accuracy in 0…1, and the number n of images.

    The columns are those of `true_labels`. Raises `UserError` if the files have different images.
    """
    rows = read_labels(true_labels, id_column, label_column, image_extension)
    truth = {image_id: label for image_id, (_, label) in rows.items()}
    header = read_header(submission)
    correct = 0
    ids: set[str] = set()
    for row, (written_id, *values) in read_rows(submission, header):
        image_id = written_id.removesuffix(f".{image_extension}")
        if image_id not in truth or image_id in ids:
            raise UserError(
                f"{submission}: row {row}: the id {image_id!r} is not in {true_labels}, or is "
                "there twice; get the true labels of this test set"
            )
        ids.add(image_id)
        if len(values) > 1:  # a column of probabilities for each class
            label = header[1 + max(range(len(values)), key=lambda i: float(values[i]))]
        else:
            label = values[0]
        correct += label == truth[image_id]
    if len(ids) != len(truth):
        raise UserError(
            f"{true_labels}: has {len(truth)} labels for {len(ids)} test images; "
            "get the true labels of this test set"
        )
    return {"accuracy": correct / len(ids), "n": len(ids)}


def write_score(path: Path, result: dict[str, float | int]) -> None:
    """Write score.json."""
    write_text(path, json.dumps(result, indent=2, sort_keys=True) + "\n")
