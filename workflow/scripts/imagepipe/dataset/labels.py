"""Reading the labels of the training images, and checking them against the images."""

import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from imagepipe.config.dataset import (
    FixedSplit,
    GroupSplit,
    LabelCoco,
    LabelColumns,
    LabelFileNames,
    LabelFolders,
    Labels,
    LabelTable,
    Metric,
    SampleForm,
    Split,
    Submission,
    TestIds,
)
from imagepipe.config.options import Options
from imagepipe.dataset.coco import read_coco
from imagepipe.dataset.forms import choose_form, choose_metric
from imagepipe.dataset.image_index import ImageIndex
from imagepipe.dataset.manifests import LABEL_COLUMNS, TEST_COLUMNS, Image, read_manifest
from imagepipe.dataset.submission_form import write_metric, write_submission_form
from imagepipe.dataset.tables import read_header, read_table
from imagepipe.dataset.test_images import find_test_images
from imagepipe.errors import UserError, quoted
from imagepipe.files import natural_key, spreadsheet_safe, write_rows, write_text

logger = logging.getLogger(__name__)

UNMATCHED_COLUMNS = ("id", "problem")
# Stands between the classes of an image in labels.csv.
CLASS_SEPARATOR = "|"
# Of a class's name, in bytes: the longest name of a folder on all usual file systems.
LONGEST_NAME = 255
ONES_AND_ZEROS = {
    **dict.fromkeys(("1", "1.0", "true", "True", "TRUE"), True),
    **dict.fromkeys(("0", "0.0", "false", "False", "FALSE"), False),
}

# A row of the labels: its number, the image's id as written, and the classes.
Row = tuple[int, str, tuple[str, ...]]


@dataclass
class FoundLabels:
    """The classes of the images by id, and the rows (line, written id) without image.

    `optional` says whether images may lack a label, because their rows are left out by `where`.
    """

    source: Path
    classes_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    without_image: list[tuple[int, str]] = field(default_factory=list)
    optional: bool = False


class LabelOptions(Options):
    """How a dataset's labels, test images and submission are written."""

    labels: Labels
    test_ids: TestIds | None = None
    sample_submission: str | None = None
    submission: Submission = SampleForm()
    metric: Metric | None = None
    split: Split | None = None
    encoding: str = "utf-8"
    on_bad_image: Literal["error", "drop", "salvage"] = "error"


def match_labels(extracted: Path, folder: Path, options: LabelOptions) -> None:
    """Check the competition's labels against the images, and decide the form of the submission.

    `extracted` holds the tables and the images' manifest. `folder` gets, in natural order of ids,
    labels.csv (id, label, and the group or split if options.split asks for it); classes.txt, the sorted names
    of the classes; test.csv (id, submission_id); unmatched.csv: labels without image and images
    without label, which are left out; submission_form.json and metric.json. All of these are
    checked here, not only after hours of training.

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
    found = read_labels(extracted, labels, labelled, test, encoding, split)
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
    form = choose_form(
        options.submission,
        sample,
        classes,
        several=several,
        metric=options.metric,
        separator=getattr(labels, "separator", None),
    )
    metric = choose_metric(options.metric, form, classes, several=several)
    columns: tuple[str, ...] = ()
    value_of: dict[str, str] = {}
    if isinstance(split, GroupSplit | FixedSplit):
        columns, value_of = read_split_column(extracted, split, labelled, found, encoding)
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
    write_submission_form(folder / "submission_form.json", form)
    write_metric(folder / "metric.json", metric)


def has_several(options: Labels) -> bool:
    """Return whether an image may have several classes."""
    if isinstance(options, LabelTable):
        return options.separator is not None
    return isinstance(options, LabelColumns | LabelCoco) and options.several


def read_labels(
    extracted: Path,
    options: Labels,
    images: Sequence[Image],
    test: Sequence[Image],
    encoding: str,
    split: Split | None = None,
) -> FoundLabels:
    """Return the labels of `images`; rows of the `test` images are passed over.

    Raises `UserError` for a row that cannot be used: an empty id or label, an id that comes twice,
    a label with unusual characters.
    """
    several = has_several(options)
    match options:
        case LabelFolders():
            return labels_of_images(extracted, images, map(folder_of, images), options)
        case LabelFileNames():
            return labels_of_images(extracted, images, match_names(images, options), options)
        case LabelTable():
            rows = rows_of_table(extracted / options.file, options, encoding)
        case LabelColumns():
            rows = rows_of_columns(extracted / options.file, options, encoding, split)
        case LabelCoco():
            rows = rows_of_coco(extracted / options.file, options)
    source = extracted / options.file
    found = FoundLabels(source, optional=bool(getattr(options, "where", None)))
    index = ImageIndex([*images, *test])
    test_ids = {image.id for image in test}
    row_of: dict[str, int] = {}
    of_test = 0
    checked: set[tuple[str, ...]] = set()
    for row, written, classes in rows:
        if not written:
            raise UserError(f"{source}: row {row}: the id is empty; fill it in, or remove the row")
        image = index.find(written, source, row)
        key = image.id if image else written
        if key in row_of:
            raise UserError(
                f"{source}: row {row}: the id {quoted(written)} is there already, in row "
                f"{row_of[key]}; remove one of the two rows"
            )
        row_of[key] = row
        if image is not None and image.id in test_ids:
            of_test += 1
            continue
        if not classes and not several:
            raise UserError(
                f"{source}: row {row}: the label of id {quoted(written)} is empty; "
                "fill it in, or remove the row and the image"
            )
        if classes not in checked:
            check_names(f"{source}: row {row}", classes, several=several)
            checked.add(classes)
        if image is None:
            found.without_image.append((row, written))
        else:
            found.classes_of[image.id] = classes
    if not row_of:
        raise UserError(f"{source}: has no rows; get the file again")
    index.log_changed_numbers(source)
    if of_test:
        logger.info(f"{source}: {of_test:,} rows are of test images, and not trained on")
    return found


def rows_of_table(source: Path, options: LabelTable, encoding: str) -> Iterator[Row]:
    """Yield the rows of a column of labels."""
    columns = (options.id_column, options.label_column)
    for row, (written, text) in read_table(source, columns, where=options.where, encoding=encoding):
        text = unicodedata.normalize("NFC", text)
        if options.separator is None:
            yield row, written, (text,) if text else ()
        else:
            yield row, written, divided(text, options.separator)


def divided(text: str, separator: str) -> tuple[str, ...]:
    """Return the classes in a field, sorted, each once. Brackets and quotes are those of a list."""
    if text.startswith("[") and text.endswith("]"):
        parts = [part.strip().strip("'\"") for part in text[1:-1].split(separator)]
    else:
        parts = [part.strip() for part in text.split(separator)]
    return tuple(sorted({part for part in parts if part}))


def rows_of_columns(
    source: Path,
    options: LabelColumns,
    encoding: str,
    split: Split | None,
) -> Iterator[Row]:
    """Yield the rows of columns of 0 and 1. Raises `UserError` for any other value."""
    columns = options.columns
    if columns is None:
        others = {options.id_column, *options.where}
        if isinstance(split, GroupSplit | FixedSplit) and split.file == options.file:
            others |= {split.id_column, split_column(split)}
        columns = [name for name in read_header(source, encoding) if name not in others]
    classes = [unicodedata.normalize("NFC", name) for name in columns]
    table = read_table(
        source, (options.id_column, *columns), where=options.where, encoding=encoding
    )
    for row, (written, *values) in table:
        ones: list[str] = []
        for name, value in zip(classes, values, strict=True):
            is_one = ONES_AND_ZEROS.get(value)
            if is_one is None:
                raise UserError(
                    f"{source}: row {row}: {quoted(value)} in the column {quoted(name)} must be "
                    "0 or 1 (labels.columns lists the classes' columns)"
                )
            if is_one:
                ones.append(name)
        if len(ones) != 1 and not options.several:
            has = f"{len(ones)} columns have" if ones else "no column has"
            raise UserError(
                f"{source}: row {row}: {has} a 1; correct the row, or set labels.several to true"
            )
        yield row, written, tuple(sorted(ones))


def rows_of_coco(source: Path, options: LabelCoco) -> Iterator[Row]:
    """Yield the images of a JSON file like COCO's, with the number of each as its row."""
    for row, image in enumerate(read_coco(source), start=1):
        if len(image.classes) > 1 and not options.several:
            raise UserError(
                f"{source}: the image {quoted(image.file_name)} has several categories, such as "
                f"{quoted(image.classes[0])} and {quoted(image.classes[1])}; "
                "set labels.several to true"
            )
        yield row, image.file_name, image.classes


def folder_of(image: Image) -> str | None:
    """Return the first folder of an image below train_folder, or None."""
    folder, slash, _ = image.below.partition("/")
    return unicodedata.normalize("NFC", folder) if slash else None


def match_names(images: Iterable[Image], options: LabelFileNames) -> Iterator[str | None]:
    """Yield the label in each image's file name, or None if the pattern does not match."""
    try:
        pattern = re.compile(options.pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UserError(
            f"labels.pattern: {quoted(options.pattern)} is not a regular expression ({error}); "
            "correct it"
        ) from None
    if "label" not in pattern.groupindex:
        raise UserError(
            f"labels.pattern: {quoted(options.pattern)} has no group (?P<label>...); add it"
        )
    for image in images:
        found = pattern.match(unicodedata.normalize("NFC", image.below))
        yield (found["label"] or "").strip() or None if found else None


def labels_of_images(
    extracted: Path,
    images: Sequence[Image],
    labels: Iterable[str | None],
    options: LabelFolders | LabelFileNames,
) -> FoundLabels:
    """Return the labels that are in the images' paths. Raises `UserError` if there is none."""
    found = FoundLabels(extracted / "train")
    for image, label in zip(images, labels, strict=True):
        if label is not None:
            check_names(str(extracted / image.path), (label,), several=False)
            found.classes_of[image.id] = (label,)
    if not images:
        raise UserError(f"{found.source}: there are no training images; correct train_folder")
    if not found.classes_of:
        what = (
            "no training image lies in a folder of its class"
            if isinstance(options, LabelFolders)
            else f"labels.pattern {quoted(options.pattern)} matches no training image"
        )
        raise UserError(
            f"{found.source}: {what}, such as {quoted(images[0].below)}; correct the labels"
        )
    return found


def check_names(place: str, classes: Iterable[str], *, several: bool) -> None:
    """Raise `UserError` for a class whose name cannot be written into the tables."""
    for name in classes:
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name):
            problem = "has a control character"
        elif len(name.encode(errors="replace")) > LONGEST_NAME:
            problem = f"is longer than {LONGEST_NAME} bytes"
        elif several and CLASS_SEPARATOR in name:
            problem = f"has a {CLASS_SEPARATOR!r}, which separates several labels"
        else:
            continue
        raise UserError(f"{place}: the label {quoted(name)} {problem}; rename it")


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


def split_column(split: GroupSplit | FixedSplit) -> str:
    """Return the column of the groups, or of the split."""
    return split.split_column if isinstance(split, FixedSplit) else split.group_column


def read_split_column(
    extracted: Path,
    split: GroupSplit | FixedSplit,
    images: Sequence[Image],
    found: FoundLabels,
    encoding: str,
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the name and the values, by image id, of the column that labels.csv has besides.

    Raises `UserError` for a table that names none of the labelled images, or one image in two
    groups, and for a fixed split without validation images, or without training images.
    """
    source = extracted / split.file
    fixed = isinstance(split, FixedSplit)
    column = split_column(split)
    index = ImageIndex(images)
    value_of: dict[str, str] = {}
    for row, (written, text) in read_table(source, (split.id_column, column), encoding=encoding):
        image = index.find(written, source, row)
        if image is None or image.id not in found.classes_of:
            continue
        value = text
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
