"""Reading the labels of the training images, and checking them against the images."""

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from imagepipe.config.dataset import (
    FixedSplit,
    GroupSplit,
    Labels,
    Metric,
    SampleForm,
    Split,
    Submission,
    TestIds,
    has_several,
)
from imagepipe.config.options import Options
from imagepipe.dataset.image_index import ImageIndex
from imagepipe.dataset.label_kinds import (
    FoundLabels,
    read_labels,
    split_column,
)
from imagepipe.dataset.manifests import (
    CLASS_SEPARATOR,
    LABEL_COLUMNS,
    TEST_COLUMNS,
    Image,
    read_manifest,
)
from imagepipe.dataset.tables import read_table
from imagepipe.dataset.test_images import find_test_images
from imagepipe.errors import UserError, quoted
from imagepipe.files import natural_key, nfc, spreadsheet_safe, write_rows, write_text

logger = logging.getLogger(__name__)

UNMATCHED_COLUMNS = ("id", "problem")


class LabelOptions(Options):
    """How a dataset's labels, test images and submission are written.

    A stage leaves what it does not need at its default.
    """

    labels: Labels
    test_ids: TestIds | None = None
    sample_submission: str | None = None
    submission: Submission = SampleForm()
    metric: Metric | None = None
    split: Split | None = None
    encoding: str = "utf-8"
    on_bad_image: Literal["error", "drop", "salvage"] = "error"


def match_labels(extracted: Path, folder: Path, options: LabelOptions) -> None:
    """Check the competition's labels against the images.

    `extracted` holds the tables and the images' manifest. `folder` gets, in natural order of ids,
    labels.csv (id, label, and group or split if options.split needs it); classes.txt, the sorted
    names of the classes; test.csv (id, submission_id); unmatched.csv: labels without image and
    images without label, which are left out. All of these are checked here, not only after hours
    of training.

    Test images are never trained on: their rows among the labels are passed over. Training images
    without label are left out if the test images lie among them, or if the labels have `where`.
    Raises `UserError` for a row that cannot be used, and, if on_bad_image is "error", for an id
    without image and any other image without label.
    """
    labels, split, encoding = options.labels, options.split, options.encoding
    several = has_several(labels)
    images = read_manifest(extracted)
    test_set, sample = find_test_images(
        images, options.test_ids, extracted, options.sample_submission, encoding
    )
    train = [image for image in images if not image.is_test]
    test = [image for image in train if test_set.has(image)]
    labelled = [image for image in train if not test_set.has(image)]
    found = read_labels(extracted, labels, labelled, test, encoding, split, sample)
    without_label = [image for image in labelled if image.id not in found.classes_of]
    if options.on_bad_image == "error":
        refuse_unmatched(found, without_label, images, strict=not (test or found.optional))
    if not found.classes_of:
        raise UserError(
            f"{found.source}: no row has the id of a training image; get the file again"
        )
    if without_label:
        logger.info(
            f"{found.source}: {len(without_label):,} training images without label are left out"
        )
    classes = sorted({name for names in found.classes_of.values() for name in names})
    check_classes(found.source, classes, several=several)
    columns: tuple[str, ...] = ()
    value_of: dict[str, str] = {}
    if isinstance(split, GroupSplit | FixedSplit):
        columns, value_of = read_split_column(
            extracted, split, labelled, found, encoding, apart=not test
        )
    in_order = sorted(found.classes_of, key=natural_key)
    write_rows(
        folder / "labels.csv",
        (*LABEL_COLUMNS, *columns),
        (
            (
                i,
                CLASS_SEPARATOR.join(found.classes_of[i]),
                *([value_of.get(i, "")] if columns else []),
            )
            for i in in_order
        ),
    )
    write_text(folder / "classes.txt", "".join(f"{name}\n" for name in classes))
    write_rows(folder / "test.csv", TEST_COLUMNS, test_set.submission_ids.items())
    problems = [
        (i, "no image") for i in sorted((i for _, i in found.without_image), key=natural_key)
    ]
    problems += [(i, "no label") for i in sorted((i.id for i in without_label), key=natural_key)]
    rows = ((spreadsheet_safe(image_id), problem) for image_id, problem in problems)
    write_rows(folder / "unmatched.csv", UNMATCHED_COLUMNS, rows)


def refuse_unmatched(
    found: FoundLabels, without_label: Sequence[Image], images: Sequence[Image], *, strict: bool
) -> None:
    """Raise `UserError` for rows without image and, if `strict`, for images without label."""
    if found.without_image:
        row, written = found.without_image[0]
        if ImageIndex([image for image in images if image.is_test]).might_find(written):
            raise UserError(
                f"{found.source}: row {row}: the image with id {quoted(written)} is a test image; "
                "leave such rows out with labels.where, or set on_bad_image to drop"
            )
        raise UserError(
            f"{found.source}: row {row}: there is no training image with id {quoted(written)}"
            f"{and_more(found.without_image, 'id')}; remove the row, add the image to the "
            "archive, or set on_bad_image to drop"
        )
    if without_label and strict:
        raise UserError(
            f"{found.source}: there is no row for the training image {without_label[0].below}"
            f"{and_more(without_label, 'image')}; add its label, remove the image from the "
            "archive, or set on_bad_image to drop"
        )


def and_more(ids: Collection[object], what: str) -> str:
    """Return how many more ids or images have the problem of the first one."""
    more = len(ids) - 1
    if more < 1:
        return ""
    return (
        f" (and {more:,} more {what}s have none)" if more > 1 else f" (and 1 more {what} has none)"
    )


def check_classes(source: Path, classes: Sequence[str], *, several: bool) -> None:
    """Raise `UserError` for fewer than two classes; warn of classes that differ only in writing."""
    if not classes or (len(classes) < 2 and not several):
        raise UserError(
            f"{source}: all labels are {classes[0]!r}; at least two classes are needed"
            if classes
            else f"{source}: no image has a label; correct the labels"
        )
    alike: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        try:
            alike[str(float(name))].append(name)
        except ValueError:
            alike[name.casefold()].append(name)
    for names in alike.values():
        if len(names) > 1:
            logger.warning(
                f"{source}: warning: the labels {' and '.join(map(quoted, names))} are different "
                "classes; correct the labels if they are one"
            )


def read_split_column(
    extracted: Path,
    split: GroupSplit | FixedSplit,
    images: Sequence[Image],
    found: FoundLabels,
    encoding: str,
    *,
    apart: bool,
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the name and the values, by image id, of the column that labels.csv has besides.

    `apart` says that the test images have a folder of their own. Raises `UserError` for a table
    that names none of the labelled images, or one image in two groups, and for a fixed split
    without validation images, or without training images.
    """
    source = extracted / split.file
    fixed = isinstance(split, FixedSplit)
    column = split_column(split)
    index = ImageIndex(images, apart=apart)
    value_of: dict[str, str] = {}
    rows = list(read_table(source, (split.id_column, column), encoding=encoding))
    meant = index.find_all([(row, written) for row, (written, _) in rows], source)
    for (row, (written, text)), image in zip(rows, meant, strict=True):
        if image is None or image.id not in found.classes_of:
            continue
        value = nfc(text)
        if isinstance(split, FixedSplit):
            value = "valid" if text == split.valid else "train"
        if value_of.setdefault(image.id, value) != value:
            raise UserError(
                f"{source}: row {row}: the image {quoted(written)} is there already, with another "
                f"{column}; remove one of the two rows"
            )
    if not value_of:
        raise UserError(f"{source}: no row has the id of a labelled image; correct split.id_column")
    missing = len(found.classes_of) - len(value_of)
    if missing:
        each = "train" if fixed else "a group of its own"
        logger.info(f"{source}: {missing:,} labelled images have no row: {each}")
    if not fixed:
        return ("group",), value_of
    value_of = {i: value_of.get(i, "train") for i in found.classes_of}
    if len(set(value_of.values())) < 2:
        what = "validation" if "train" in value_of.values() else "training"
        raise UserError(
            f"{source}: there is no {what} image, by the column {column!r}; "
            "correct split.split_column or split.valid"
        )
    return ("split",), value_of
