"""Lists of the files in a folder, by which a later stage sees that one is gone or changed.

A workflow manager takes a folder that a stage has written as a whole, and does not look into it.
"""

from pathlib import Path
from typing import NamedTuple

from imagepipe.errors import UserError
from imagepipe.files import read_at_most, read_rows

MANIFEST_COLUMNS = ("path", "bytes", "crc32")
SPLITS = ("train", "test")


class ImageFile(NamedTuple):
    """An image's file: its name in the folder of its split, and its size in bytes."""

    name: str
    size: int


def read_manifest(folder: Path) -> dict[str, dict[str, ImageFile]]:
    """Return each split's images as {id: file}, in natural order, the id being the file's stem."""
    images: dict[str, dict[str, ImageFile]] = {split: {} for split in SPLITS}
    for _, (path, size, _) in read_rows(folder / "manifest.tsv", MANIFEST_COLUMNS, delimiter="\t"):
        split, _, name = path.partition("/")
        images[split][name.rpartition(".")[0]] = ImageFile(name, int(size))
    return images


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
