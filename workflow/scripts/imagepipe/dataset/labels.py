"""Reading the labels of the training images, and checking them against the images."""

from collections.abc import Collection
from pathlib import Path

from imagepipe.config.dataset import Labels
from imagepipe.dataset.manifests import LABEL_COLUMNS, read_manifest
from imagepipe.dataset.submission_form import read_header, read_ids
from imagepipe.errors import UserError, quoted
from imagepipe.files import natural_key, read_rows, spreadsheet_safe, write_rows, write_text

UNMATCHED_COLUMNS = ("id", "problem")
# The longest name of a folder, in bytes, on all usual file systems.
LONGEST_NAME = 255


def match_labels(
    extracted: Path,
    folder: Path,
    options: Labels,
    *,
    sample_submission: str | None = None,
    image_extension: str = "png",
    on_bad_image: str = "error",
) -> None:
    """Check the competition's labels against the images, and write both in natural order of ids.

    `extracted` holds the labels file, the sample submission if there is one, and the images'
    manifest. `folder` gets labels.csv (id, label), classes.txt, the sorted names of the classes,
    and unmatched.csv: labels without image and images without label, which are left out. The sample
    submission is checked against the test images here, not only after hours of training. Raises
    `UserError` for a row that cannot be used, and, unless `on_bad_image` is "drop", for an id
    without image and an image without label.
    """
    source = extracted / options.file
    label_of = read_labels(source, options.id_column, options.label_column, image_extension)
    images = read_manifest(extracted)
    image_of = {image.id: image for image in images if not image.is_test}
    without_image = [image_id for image_id in label_of if image_id not in image_of]
    without_label = [image_id for image_id in image_of if image_id not in label_of]
    if on_bad_image == "error" and without_image:
        row, _ = label_of[without_image[0]]
        raise UserError(
            f"{source}: row {row}: there is no training image with id {quoted(without_image[0])}"
            f"{and_more(without_image, 'id')}; remove the row, add the image to the archive, or "
            "set on_bad_image to drop"
        )
    if on_bad_image == "error" and without_label:
        raise UserError(
            f"{source}: there is no row for the training image {image_of[without_label[0]].name}"
            f"{and_more(without_label, 'image')}; add its label, remove the image from the "
            "archive, or set on_bad_image to drop"
        )
    labels = {i: label for i, (_, label) in label_of.items() if i in image_of}
    classes = sorted(set(labels.values()))
    if not classes:
        raise UserError(f"{source}: no row has the id of a training image; get the file again")
    if len(classes) < 2:
        raise UserError(f"{source}: all labels are {classes[0]!r}; at least two classes are needed")
    if sample_submission is not None:
        test_ids = [image.id for image in images if image.is_test]
        check_sample(extracted / sample_submission, test_ids, classes, image_extension)
    in_order = sorted(labels, key=natural_key)
    write_rows(folder / "labels.csv", LABEL_COLUMNS, ((i, labels[i]) for i in in_order))
    write_text(folder / "classes.txt", "".join(f"{name}\n" for name in classes))
    problems = [(i, "no image") for i in sorted(without_image, key=natural_key)]
    problems += [(i, "no label") for i in sorted(without_label, key=natural_key)]
    rows = ((spreadsheet_safe(image_id), problem) for image_id, problem in problems)
    write_rows(folder / "unmatched.csv", UNMATCHED_COLUMNS, rows)


def and_more(ids: Collection[str], what: str) -> str:
    """Return how many more ids or images have the problem of the first one."""
    more = len(ids) - 1
    if more < 1:
        return ""
    return (
        f" (and {more:,} more {what}s have none)" if more > 1 else f" (and 1 more {what} has none)"
    )


def check_sample(
    sample: Path, test_ids: Collection[str], classes: list[str], image_extension: str
) -> None:
    """Raise `UserError` for a sample submission of other columns or other test images."""
    header = read_header(sample)
    if len(header) != 2 and sorted(header[1:]) != classes:
        raise UserError(
            f"{sample}: row 1: {quoted(', '.join(header))} is neither an id and a label nor an "
            "id and the classes; get the sample submission again, or correct the labels"
        )
    read_ids(sample, header[0], test_ids, image_extension)


def read_labels(
    source: Path, id_column: str, label_column: str, image_extension: str = "png"
) -> dict[str, tuple[int, str]]:
    """Return {id: (row, label)} of a CSV file.

    An id may be written with the image's extension. Raises `UserError` for an id or a label that
    is empty, an id that comes twice, and a label that cannot be the name of a folder.
    """
    label_of: dict[str, tuple[int, str]] = {}
    for row, (image_id, label) in read_rows(source, (id_column, label_column)):
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
    """Raise `UserError` if a label cannot name a folder. `reorganise` makes one for each class."""
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
