"""Reading the labels of the training images, and checking them against the images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagepipe.dataset.manifests import LABEL_COLUMNS, count_images, read_manifest
from imagepipe.dataset.submission_form import check_ids, read_header
from imagepipe.errors import UserError, quoted
from imagepipe.files import natural_order, read_rows, spreadsheet_safe, write_rows, write_text

UNMATCHED_COLUMNS = ("id", "problem")
# Of the name of a folder, in bytes, on all usual file systems.
LONGEST_NAME = 255


def write_labels(
    dataset: dict[str, Any],
    extracted: Path,
    labels: Path,
    classes: Path,
    unmatched: Path,
    on_bad_image: str = "error",
) -> None:
    """Check the competition's labels, and write them as `id,label` in natural order of the ids.

    `extracted` is the folder of the labels file and the images' manifest; `classes` gets the sorted
    names of the classes, one a line, and `unmatched` the labels without image and the images
    without label that were left out. The sample submission is checked against the test images
    here, not only when hours of training are over. Raises `UserError` for a row that cannot be
    used, and, unless `on_bad_image` is "drop", for an id without image and an image without label.
    """
    source = extracted / dataset["labels"]["file"]
    label_of = read_labels(source, dataset["labels"], dataset["image_extension"])
    images = dict(read_manifest(extracted, "train"))
    without_image = [image_id for image_id in label_of if image_id not in images]
    without_label = [image_id for image_id in images if image_id not in label_of]
    if on_bad_image == "error" and without_image:
        row, _ = label_of[without_image[0]]
        raise UserError(
            f"{source}: row {row}: there is no training image of id {quoted(without_image[0])}"
            f"{_and_more(without_image)}; remove the row, add the image to the archive, or set "
            "on_bad_image to drop"
        )
    if on_bad_image == "error" and without_label:
        raise UserError(
            f"{source}: there is no row for the training image {images[without_label[0]].name}"
            f"{_and_more(without_label)}; add its label, remove the image from the archive, or set "
            "on_bad_image to drop"
        )
    label_of = {image_id: found for image_id, found in label_of.items() if image_id in images}
    names = sorted({label for _, label in label_of.values()})
    if not names:
        raise UserError(f"{source}: no row has the id of a training image; get the file again")
    if len(names) < 2:
        raise UserError(f"{source}: all labels are {names[0]!r}; at least two classes are needed")
    if dataset["sample_submission"] is not None:
        sample = extracted / dataset["sample_submission"]
        header = read_header(sample)
        if len(header) != 2 and sorted(header[1:]) != names:
            raise UserError(
                f"{sample}: row 1: {quoted(', '.join(header))} is neither an id and a label nor an "
                "id and the classes; get the sample submission again, or correct the labels"
            )

        def test_ids() -> Iterator[str]:
            return (image_id for image_id, _ in read_manifest(extracted, "test"))

        count = count_images(extracted, "test")
        check_ids(sample, header[0], test_ids, count, dataset["image_extension"])
    rows = ((image_id, label_of[image_id][1]) for image_id in natural_order(label_of))
    write_rows(labels, LABEL_COLUMNS, rows)
    write_text(classes, "".join(f"{name}\n" for name in names))
    problems = [(image_id, "no image") for image_id in natural_order(without_image)]
    problems += [(image_id, "no label") for image_id in natural_order(without_label)]
    rows_for_people = ((spreadsheet_safe(image_id), problem) for image_id, problem in problems)
    write_rows(unmatched, UNMATCHED_COLUMNS, rows_for_people)


def _and_more(ids: list[str]) -> str:
    return f" (nor for {len(ids) - 1:,} more)" if len(ids) > 1 else ""


def read_labels(
    source: Path, columns: dict[str, Any], image_extension: str = "png"
) -> dict[str, tuple[int, str]]:
    """Return {id: (row, label)} of a CSV file; `columns` has the keys id_column, label_column.

    An id may be written with the image's extension. Raises `UserError` for an id or a label that
    is empty, an id that comes twice, and a label that cannot be the name of a folder.
    """
    label_of: dict[str, tuple[int, str]] = {}
    names = (columns["id_column"], columns["label_column"])
    for row, (image_id, label) in read_rows(source, names):
        image_id = image_id.removesuffix(f".{image_extension}")
        if not image_id:
            raise UserError(f"{source}: row {row}: the id is empty; fill it in, or remove the row")
        if not label:
            raise UserError(
                f"{source}: row {row}: the label of id {quoted(image_id)} is empty; "
                "fill it in, or remove the row and the image"
            )
        if image_id in label_of:
            raise UserError(
                f"{source}: row {row}: the id {quoted(image_id)} is there already, in row "
                f"{label_of[image_id][0]}; remove one of the two rows"
            )
        check_folder_name(source, row, label)
        label_of[image_id] = (row, label)
    if not label_of:
        raise UserError(f"{source}: has no rows; get the file again")
    return label_of


def check_folder_name(source: Path, row: int, label: str) -> None:
    """Raise `UserError` if a label cannot be the name of a folder, as `reorganise` makes it one."""
    if (
        label.startswith(".")
        or not label.isprintable()
        or set(label) & set('/\\:*?"<>|')
        or len(label.encode()) > LONGEST_NAME
    ):
        raise UserError(
            f"{source}: row {row}: the label {quoted(label)} cannot be the name of a folder; "
            "rename it"
        )
