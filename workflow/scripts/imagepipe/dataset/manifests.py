"""Lists of the files in a folder, by which a later stage sees that one is gone or changed.

A workflow manager takes a folder that a stage has written as a whole, and does not look into it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from imagepipe.errors import UserError
from imagepipe.files import read_at_most, read_rows

MANIFEST_COLUMNS = ("path", "bytes", "crc32", "number")
SPLITS = ("train", "test")
LABEL_COLUMNS = ("id", "label")
# The book's name for the class of the test images, whose classes aren't known.
UNKNOWN = "unknown"


class ImageFile(NamedTuple):
    """An image's file.

    Its name in the folder of its split, its size in bytes, the CRC-32 of its content, and its
    number among the images in the order of the archives, from 0.
    """

    name: str
    size: int
    checksum: int
    number: int


class Image(NamedTuple):
    """An image of the dataset: "train" (labelled) or "test", its id, its label and its file."""

    split: str
    id: str
    label: str
    file: ImageFile

    @property
    def path(self) -> str:
        """Its path in the folder of the manifest."""
        return f"{self.split}/{self.file.name}"


def read_manifest(folder: Path, split: str) -> Iterator[tuple[str, ImageFile]]:
    """Yield the id, the file's stem, and the file of each image of a split, in natural order."""
    seen = False
    start = f"{split}/"
    for _, (path, size, checksum, number) in read_rows(
        folder / "manifest.tsv", MANIFEST_COLUMNS, delimiter="\t"
    ):
        if path.startswith(start):
            seen = True
            name = path[len(start) :]
            file = ImageFile(name, int(size), int(checksum, 16), int(number))
            yield name.rpartition(".")[0], file
        elif seen:
            return  # the images of a split stand together


def read_images(folder: Path, labels: Path) -> Iterator[Image]:
    """Yield the images of a table with the columns id and label, and then those of the split test.

    The former come in the order of the table, the latter in natural order; an image that has no row
    in the table is left out. Raises `UserError` if an image of the table is not in the manifest.
    """
    files = dict(read_manifest(folder, "train"))
    for row, (image_id, label) in read_rows(labels, LABEL_COLUMNS):
        file = files.get(image_id)
        if file is None:
            raise UserError(
                f"{labels}: row {row}: there is no image of id {image_id!r} any more; "
                "run again with --forcerun labels"
            )
        yield Image("train", image_id, label, file)
    del files
    for image_id, file in read_manifest(folder, "test"):
        yield Image("test", image_id, UNKNOWN, file)


def count_images(folder: Path, split: str) -> int:
    """Return how many images of a split the manifest lists."""
    with (folder / "manifest.tsv").open("rb") as file:
        # A path is in quotes if there are any in it.
        return sum(line.removeprefix(b'"').startswith(f"{split}/".encode()) for line in file)


def read_unchanged(path: str, size: int, rule: str) -> bytes:
    """Return the content of a file that a manifest lists.

    Raises `UserError` if it is gone or has another size; `rule` is what writes it.
    """
    try:
        # One byte more than there should be, so that a longer file is seen.
        content = read_at_most(path, size + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: is gone; run again with --forcerun {rule}") from None
    if len(content) != size:
        raise UserError(
            f"{path}: does not have the {size:,} bytes any more that it had; "
            f"run again with --forcerun {rule}"
        )
    return content
