"""The list of a dataset's images. Later stages compare the images with it.

Snakemake does not: it takes a folder that a stage has written as a whole.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from imagepipe.errors import UserError, quoted
from imagepipe.files import read_rows

MANIFEST_COLUMNS = ("path", "bytes", "crc32", "number")
# The folders that images are extracted into.
FOLDERS = ("train", "test")
LABEL_COLUMNS = ("id", "label")
# The book's name for the class of the test images.
UNKNOWN = "unknown"


class Image(NamedTuple):
    """An image of the dataset.

    Its id is its file's name without the extension. `path` is that of the file below the extracted
    images, "train/1.png"; `size` is in bytes, `checksum` a CRC-32, and `number` counts the images
    in the order of the archives, from 0.
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


def read_manifest(folder: Path) -> list[Image]:
    """Read `folder`/manifest.tsv: the training images, then the test images, in natural order."""
    images: list[Image] = []
    rows = read_rows(folder / "manifest.tsv", MANIFEST_COLUMNS, delimiter="\t")
    for _, (path, size, checksum, number) in rows:
        image_id = path.partition("/")[2].rpartition(".")[0]
        images.append(Image(image_id, path, int(size), int(checksum, 16), int(number)))
    return images


def labelled_images(images: Sequence[Image], labels: Path) -> list[Image]:
    """Return the images of a table with the columns id and label, in its order, with their labels.

    Raises `UserError` if one of them is not among the `images`.
    """
    image_of = {image.id: image for image in images if not image.is_test}
    labelled: list[Image] = []
    for row, (image_id, label) in read_rows(labels, LABEL_COLUMNS):
        if image_id not in image_of:
            raise UserError(
                f"{labels}: row {row}: the image with id {quoted(image_id)} is gone; "
                "run again with --forcerun labels"
            )
        labelled.append(image_of[image_id]._replace(label=label))
    return labelled


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
