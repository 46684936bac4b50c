"""The list of a dataset's images. Later stages compare the images with it.

Snakemake does not: it takes a folder that a stage has written as a whole.
"""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from imagepipe.errors import UserError, quoted
from imagepipe.files import nfc, read_rows

MANIFEST_COLUMNS = ("path", "bytes", "crc32", "number")
# The folders that images are extracted into.
FOLDERS = ("train", "test")
LABEL_COLUMNS = ("id", "label")
# Stands between the classes of an image in labels.csv, split.csv and labelled.csv.
CLASS_SEPARATOR = "|"
TEST_COLUMNS = ("id", "submission_id")
# The book's name for the class of the test images.
UNKNOWN = "unknown"


class Image(NamedTuple):
    """An image of the dataset.

    `path` is that of the file below the extracted images, "train/1.png" or "train/cat/1.png";
    `size` is in bytes, `checksum` a CRC-32, and `number` counts the images in the order of the
    archives, from 0. For the id, see `image_ids`.
    """

    id: str
    path: str
    size: int
    checksum: int
    number: int
    label: str = UNKNOWN

    @property
    def is_test(self) -> bool:
        """Whether the image is one of the test set."""
        return self.path.startswith("test/")

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.path.rpartition("/")[2]

    @property
    def below(self) -> str:
        """The path below train_folder or test_folder: "1.png" or "cat/1.png"."""
        return self.path.partition("/")[2]


def read_manifest(folder: Path) -> list[Image]:
    """Read `folder`/manifest.tsv: the training images, then the test images, in natural order."""
    table = read_rows(folder / "manifest.tsv", MANIFEST_COLUMNS, delimiter="\t")
    rows = [row for _, row in table]
    below = [row[0].partition("/")[2] for row in rows]
    first_test = sum(row[0].startswith("train/") for row in rows)
    ids = [*image_ids(below[:first_test]), *image_ids(below[first_test:])]
    return [
        Image(image_id, path, int(size), int(checksum, 16), int(number))
        for image_id, (path, size, checksum, number) in zip(ids, rows, strict=True)
    ]


def image_ids(paths: Sequence[str]) -> list[str]:
    """Return the ids of training or test images, from their paths in that folder.

    These are the files' names without ending; if any two are equal, all ids are paths without
    ending ("cat/1"); if any two of these are equal, with it ("cat/1.png"). Raises `UserError` for
    names that differ only in the form of their Unicode characters, or in spaces before them.
    """
    # Tables are read without the spaces around values.
    paths = [nfc(path).strip() for path in paths]
    without_ending = [path.rpartition(".")[0] for path in paths]
    names = [path.rpartition("/")[2] for path in without_ending]
    for ids in (names, without_ending, paths):
        if len(set(ids)) == len(ids):
            return ids
    twice = next(path for path, count in Counter(paths).items() if count > 1)
    raise UserError(
        f"{quoted(twice)}: two images have this name, in different forms of Unicode or with a "
        "space before it; rename one"
    )


def labelled_images(images: Sequence[Image], labels: Path) -> list[Image]:
    """Return the images of a table with the columns id and label, in its order, with their labels.

    Raises `UserError` if one of them is not among the `images`.
    """
    image_of = {image.id: image for image in images if not image.is_test}
    labelled: list[Image] = []
    for row, (image_id, label) in read_rows(labels, LABEL_COLUMNS):
        if image_id not in image_of:
            raise gone(labels, row, image_id)
        labelled.append(image_of[image_id]._replace(label=label))
    return labelled


def possible_test_images(images: Sequence[Image]) -> list[Image]:
    """Return the images among which the test images are: those in test_folder, if it is given."""
    return [image for image in images if image.is_test] or list(images)


def listed_test_images(images: Sequence[Image], test: Path) -> list[Image]:
    """Return the images of test.csv, in its order.

    Raises `UserError` if one of them is not among the `images`.
    """
    image_of = {image.id: image for image in possible_test_images(images)}
    listed: list[Image] = []
    for row, (image_id,) in read_rows(test, ("id",)):
        if image_id not in image_of:
            raise gone(test, row, image_id)
        listed.append(image_of[image_id])
    return listed


def gone(table: Path, row: int, image_id: str) -> UserError:
    """Return the error for an image that a table of an earlier stage has, and the manifest not."""
    return UserError(
        f"{table}: row {row}: the image with id {quoted(image_id)} is gone; "
        "run again with --forcerun labels"
    )


def read_unchanged(path: str, size: int) -> bytes:
    """Return the content of an extracted image, whose manifest says `size` bytes.

    Raises `UserError` if it is gone or has another size.
    """
    try:
        # For small files, opening a `Path` takes as long as the reading.
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise UserError(f"{path}: is gone; run again with --forcerun extract") from None
    try:
        content = os.read(descriptor, size + 1)  # one byte more shows that a file is longer
    finally:
        os.close(descriptor)
    if len(content) != size:
        raise UserError(
            f"{path}: no longer has its {size:,} bytes; run again with --forcerun extract"
        )
    return content
