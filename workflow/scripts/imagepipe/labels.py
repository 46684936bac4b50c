"""Reading the labels of the training images, and checking them against the images."""

from pathlib import Path
from typing import Any

from imagepipe.errors import UserError
from imagepipe.files import natural_key, read_rows, write_rows, write_text
from imagepipe.manifests import read_manifest
from imagepipe.submission_form import read_header, read_ids

LABEL_COLUMNS = ("id", "label")


def write_labels(dataset: dict[str, Any], extracted: Path, labels: Path, classes: Path) -> None:
    """Check the competition's labels, and write them as `id,label` in natural order of the ids.

    `extracted` is the folder of the unpacked images, with its manifest and the labels file;
    `classes` gets the sorted names of the classes, one a line. The sample submission is checked
    against the test images here, not only when hours of training are over. Raises `UserError` for
    a row that cannot be used, an id without image, and an image without label.
    """
    source = extracted / dataset["labels"]["file"]
    label_of = read_labels(source, dataset["labels"], dataset["image_extension"])
    split_images = read_manifest(extracted)
    images = split_images["train"]
    for image_id, (row, _) in label_of.items():
        if image_id not in images:
            raise UserError(
                f"{source}: row {row}: there is no training image of id {image_id!r}; "
                "remove the row, or add the image to the archive"
            )
    for image_id, path in images.items():
        if image_id not in label_of:
            raise UserError(
                f"{source}: there is no row for the training image {path.name}; "
                "add its label, or remove the image from the archive"
            )
    names = sorted({label for _, label in label_of.values()})
    if len(names) < 2:
        raise UserError(f"{source}: all labels are {names[0]!r}; at least two classes are needed")
    if dataset["sample_submission"] is not None:
        sample = extracted / dataset["sample_submission"]
        read_ids(sample, read_header(sample)[0], split_images["test"], dataset["image_extension"])
    ids = sorted(label_of, key=natural_key)
    write_rows(labels, LABEL_COLUMNS, ((image_id, label_of[image_id][1]) for image_id in ids))
    write_text(classes, "".join(f"{name}\n" for name in names))


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
                f"{source}: row {row}: the label of id {image_id!r} is empty; "
                "fill it in, or remove the row and the image"
            )
        if image_id in label_of:
            raise UserError(
                f"{source}: row {row}: the id {image_id!r} is there already, in row "
                f"{label_of[image_id][0]}; remove one of the two rows"
            )
        check_folder_name(source, row, label)
        label_of[image_id] = (row, label)
    if not label_of:
        raise UserError(f"{source}: has no rows; get the file again")
    return label_of


def check_folder_name(source: Path, row: int, label: str) -> None:
    """Raise `UserError` if a label cannot be the name of a folder, as `reorganise` makes it one."""
    if label.startswith(".") or not label.isprintable() or set(label) & set('/\\:*?"<>|'):
        raise UserError(
            f"{source}: row {row}: the label {label!r} cannot be the name of a folder; rename it"
        )
