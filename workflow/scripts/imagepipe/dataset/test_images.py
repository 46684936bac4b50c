"""The test images, and their ids in the submission."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagepipe.config.dataset import TestIds
from imagepipe.dataset.coco import read_coco
from imagepipe.dataset.image_index import ImageIndex
from imagepipe.dataset.manifests import Image, possible_test_images
from imagepipe.dataset.tables import read_header, read_table
from imagepipe.errors import UserError, quoted
from imagepipe.files import natural_key

logger = logging.getLogger(__name__)

# Values of the column Usage, in lower case, by which Kaggle says what each row counts for.
USAGES = {"public", "private", "ignored"}
# Rows of the sample submission to look for ids in.
ROWS_COMPARED = 100


@dataclass(frozen=True)
class Sample:
    """A sample submission: the columns besides the ids', and rows of (line, written id).

    `values` are those of the only other column; if there are several, they are not kept.
    """

    path: Path
    id_column: str
    columns: tuple[str, ...]
    rows: list[tuple[int, str]]
    values: list[str]


class TestSet:
    """The test images: {id: its form in the submission}, in the order of the submission."""

    __test__ = False  # not for pytest

    def __init__(self, submission_ids: dict[str, str], *, in_test_folder: bool) -> None:
        self.submission_ids = submission_ids
        self.in_test_folder = in_test_folder

    def has(self, image: Image) -> bool:
        """Whether an image is one of these."""
        return image.is_test == self.in_test_folder and image.id in self.submission_ids


def find_test_images(
    images: Sequence[Image],
    ids: TestIds | None,
    extracted: Path,
    sample_name: str | None,
    encoding: str,
) -> tuple[TestSet, Sample | None]:
    """Return the test images, and the sample submission, both from tables in `extracted`.

    The table `ids` lists the test images. Without one, they are those in test_folder; without that
    folder, those of the sample submission. Raises `UserError` if there are none, and for a sample
    of other images.
    """
    index = ImageIndex(possible_test_images(images))
    in_test_folder = bool(index.images) and index.images[0].is_test
    chosen = index.images if in_test_folder else []
    written_of: dict[str, str] = {}
    listed: dict[str, Image] = {}
    if ids is not None:
        listed, aliases = read_test_ids(extracted / ids.file, ids, index, encoding)
        chosen = list({image.id: image for image in listed.values()}.values())
        written_of = {image.id: written for written, image in listed.items()}
        index.aliases = aliases
    if sample_name is None:
        in_order = sorted((image.id for image in chosen), key=natural_key)
        submission_ids = {i: written_of.get(i, i) for i in in_order}
        sample = None
    else:
        sample = read_sample(extracted / sample_name, index, encoding)
        if not all(written in index.aliases for _, written in sample.rows):
            index.aliases = {}  # the numbers may be those of the files
        log_other_names(sample, index)
        everything = ids is None and not in_test_folder
        submission_ids = match_sample(sample, index, None if everything else chosen)
    if not submission_ids:
        raise UserError(
            f"{extracted}: there are no test images; correct test_folder, or list them in test_ids"
        )
    return TestSet(submission_ids, in_test_folder=in_test_folder), sample


def read_test_ids(
    path: Path, options: TestIds, index: ImageIndex, encoding: str
) -> tuple[dict[str, Image], dict[str, Image]]:
    """Return {written id: test image} of a table, and {other id: test image} of a JSON file.

    Raises `UserError` for an id without image, and one that comes twice.
    """
    aliases: list[str] = []
    if path.suffix.lower() == ".json":
        entries = read_coco(path, options.where)
        rows = [(number, one.file_name) for number, one in enumerate(entries, start=1)]
        aliases = [one.id for one in entries]
    else:
        table = read_table(path, (options.id_column,), where=options.where, encoding=encoding)
        rows = [(row, written) for row, (written,) in table]
    listed: dict[str, Image] = {}
    seen: set[str] = set()
    for (row, written), image in zip(rows, index.find_all(rows, path), strict=True):
        if image is None:
            raise UserError(
                f"{path}: row {row}: there is no test image with id {quoted(written)}; "
                "get the test images again, or correct test_ids"
            )
        if image.id in seen:
            raise UserError(
                f"{path}: row {row}: the id {quoted(written)} is there twice; remove one"
            )
        seen.add(image.id)
        listed[written] = image
    if not listed:
        raise UserError(f"{path}: there are no test images; correct test_ids")
    index.log_changes(path)
    return listed, dict(zip(aliases, listed.values(), strict=bool(aliases)))


def log_other_names(sample: Sample, index: ImageIndex) -> None:
    """Log if the sample's ids are those of a JSON file, and also the names of other files."""
    for _, written in sample.rows if index.aliases else ():
        image = index.aliases[written]
        if index.of_name(written) not in (None, image):
            logger.info(
                f"{sample.path}: the ids are those in the JSON file, so that {quoted(written)} is "
                f"{quoted(image.below)}; write test_ids as a CSV file if they are file names"
            )
            return


def read_sample(path: Path, index: ImageIndex, encoding: str) -> Sample:
    """Return a sample submission, without a column Usage.

    Raises `UserError` if it has no column besides the ids'.
    """
    header = tuple(
        name
        for name in read_header(path, encoding)
        if not is_usage(name, (v for _, (v,) in read_table(path, (name,), encoding=encoding)))
    )
    if len(header) < 2:
        raise UserError(
            f"{path}: row 1: {quoted(', '.join(header))} is neither an id and a label nor an id "
            "and the classes; get the sample submission again"
        )
    id_column = find_id_column(path, header, index, encoding)
    columns = tuple(name for name in header if name != id_column)
    wanted = (id_column, columns[0]) if len(columns) == 1 else (id_column,)
    rows: list[tuple[int, str]] = []
    values: list[str] = []
    for row, (written, *value) in read_table(path, wanted, encoding=encoding):
        rows.append((row, written))
        values += value
    return Sample(path, id_column, columns, rows, values)


def is_usage(name: str, values: Iterable[str]) -> bool:
    """Return whether a column says which rows count for which of Kaggle's leaderboards."""
    found = {value.casefold() for value in values} if name.casefold() == "usage" else set[str]()
    return bool(found) and found <= USAGES


def find_id_column(path: Path, header: Sequence[str], index: ImageIndex, encoding: str) -> str:
    """Return the first column whose values are ids of images, or else the first."""
    table = read_table(path, header, encoding=encoding)
    rows = [row for _, (_, row) in zip(range(ROWS_COMPARED), table, strict=False)]
    for name, values in zip(header, zip(*rows, strict=True), strict=bool(rows)):
        if len(set(values)) == len(values) and all(map(index.might_find, values)):
            if name != header[0]:
                logger.info(f"{path}: the ids are in the column {name!r}; ours come first")
            return name
    return header[0]


def match_sample(
    sample: Sample, index: ImageIndex, test_images: Sequence[Image] | None
) -> dict[str, str]:
    """Return {image's id: written id} of the sample submission, in its order.

    Raises `UserError` if these are not exactly the `test_images`, each once. None stands for
    any images.
    """
    known = None if test_images is None else {image.id for image in test_images}
    submission_ids: dict[str, str] = {}
    meant = index.find_all(sample.rows, sample.path)
    for (row, written), image in zip(sample.rows, meant, strict=True):
        if image is None or (known is not None and image.id not in known):
            raise UserError(
                f"{sample.path}: row {row}: there is no test image with id {quoted(written)}; "
                "get the test archive again, or the sample submission"
            )
        if image.id in submission_ids:
            raise UserError(
                f"{sample.path}: row {row}: the id {quoted(written)} is there twice; remove one"
            )
        submission_ids[image.id] = written
    index.log_changes(sample.path)
    for image in test_images or []:
        if image.id not in submission_ids:
            raise UserError(
                f"{sample.path}: there is no row for the test image with id {quoted(image.id)}; "
                "get the sample submission again, or list the test images in test_ids"
            )
    return submission_ids
