"""Reading labels from tables, JSON files, folders and file names."""

import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagepipe.config.dataset import (
    FixedSplit,
    GroupSplit,
    LabelCoco,
    LabelColumns,
    LabelFileNames,
    LabelFolders,
    Labels,
    LabelTable,
    Split,
    has_several,
)
from imagepipe.dataset.coco import CocoImage, read_coco
from imagepipe.dataset.image_index import ImageIndex
from imagepipe.dataset.manifests import CLASS_SEPARATOR, Image
from imagepipe.dataset.tables import read_header, read_table
from imagepipe.dataset.test_images import Sample
from imagepipe.errors import UserError, quoted
from imagepipe.files import nfc

logger = logging.getLogger(__name__)

# Of a class's name, in bytes: the longest name of a folder on all usual file systems.
LONGEST_NAME = 255
# Unicode's bidirectional classes of characters that show others in another order.
REORDERING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
ONES_AND_ZEROS = {
    **dict.fromkeys(("1", "1.0", "true", "True", "TRUE"), True),
    **dict.fromkeys(("0", "0.0", "false", "False", "FALSE"), False),
}

# Between the classes in a field of a sample submission.
SEPARATED = re.compile(r"[ ,;|]+")

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


def read_labels(
    extracted: Path,
    options: Labels,
    images: Sequence[Image],
    test: Sequence[Image],
    encoding: str,
    split: Split | None = None,
    sample: Sample | None = None,
) -> FoundLabels:
    """Return the labels of `images`; rows of the `test` images are passed over.

    The classes of a JSON file are its categories' names, or their ids if the `sample` has those.
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
            rows = rows_of_coco(extracted / options.file, options, sample)
    source = extracted / options.file
    found = FoundLabels(source, optional=bool(getattr(options, "where", None)))
    index = ImageIndex([*images, *test], apart=not test)
    test_ids = {image.id for image in test}
    row_of: dict[str, int] = {}
    of_test = 0
    checked: set[tuple[str, ...]] = set()
    # Each combination of classes once, to save memory.
    kept: dict[tuple[str, ...], tuple[str, ...]] = {}
    table = [(row, written, kept.setdefault(some, some)) for row, written, some in rows]
    meant = index.find_all([(row, written) for row, written, _ in table], source)
    for (row, written, classes), image in zip(table, meant, strict=True):
        if not written:
            raise UserError(f"{source}: row {row}: the id is empty; fill it in, or remove the row")
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
    index.log_changes(source)
    if of_test:
        logger.info(f"{source}: {of_test:,} rows are of test images, and not trained on")
    return found


def rows_of_table(source: Path, options: LabelTable, encoding: str) -> Iterator[Row]:
    """Yield the rows of a column of labels."""
    columns = (options.id_column, options.label_column)
    for row, (written, text) in read_table(source, columns, where=options.where, encoding=encoding):
        text = nfc(text)
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
    classes = [nfc(name) for name in columns]
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


def rows_of_coco(source: Path, options: LabelCoco, sample: Sample | None) -> Iterator[Row]:
    """Yield the images of a JSON file like COCO's, with the number of each as its row."""
    images = read_coco(source)
    by_id = sample is not None and asks_for_category_ids(images, sample)
    if by_id:
        logger.info(f"{source}: the classes are the ids of the categories, as in the sample")
    for row, image in enumerate(images, start=1):
        if len(image.classes) > 1 and not options.several:
            raise UserError(
                f"{source}: the image {quoted(image.file_name)} has several categories, such as "
                f"{quoted(image.classes[0])} and {quoted(image.classes[1])}; "
                "set labels.several to true"
            )
        yield row, image.file_name, image.category_ids if by_id else image.classes


def asks_for_category_ids(images: Iterable[CocoImage], sample: Sample) -> bool:
    """Return whether a sample submission has the ids of categories, and no names of them."""
    names, ids = set[str](), set[str]()
    for image in images:
        names.update(image.classes)
        ids.update(image.category_ids)
    fields = {nfc(field) for field in (*sample.columns, *sample.values)}
    parts = {part for field in fields for part in SEPARATED.split(field)}
    return bool(parts & ids) and not (fields | parts) & names


def folder_of(image: Image) -> str | None:
    """Return the first folder of an image below train_folder, or None."""
    folder, slash, _ = image.below.partition("/")
    # Tables are read without the spaces around values.
    return nfc(folder).strip() if slash else None


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
        found = pattern.match(nfc(image.below))
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
        if any(map(is_control, name)):
            problem = "has a control character"
        elif len(name.encode(errors="replace")) > LONGEST_NAME:
            problem = f"is longer than {LONGEST_NAME} bytes"
        elif several and CLASS_SEPARATOR in name:
            problem = f"has a {CLASS_SEPARATOR!r}, which separates several labels"
        else:
            continue
        raise UserError(f"{place}: the label {quoted(name)} {problem}; rename it")


def is_control(character: str) -> bool:
    """Return whether a character breaks a line, or changes how the others are shown."""
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in REORDERING
    )


def split_column(split: GroupSplit | FixedSplit) -> str:
    """Return the column of the groups, or of the split."""
    return split.split_column if isinstance(split, FixedSplit) else split.group_column
