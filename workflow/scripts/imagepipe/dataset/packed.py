"""What `packing` wrote, and the classes and the split that go with it."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from imagepipe.errors import UserError
from imagepipe.files import count_rows, read_rows

CHUNK_BYTES = 4 << 20  # 1,365 images of 32×32


@dataclass(frozen=True)
class PackedImages:
    """Images of a packed array: uint8 [N, H, W, 3] (a memory map), and the id and label of each."""

    images: np.ndarray
    ids: list[str]
    labels: list[str]


def read_packed(array: Path, table: Path) -> PackedImages:
    """Read a packed array and its table.

    Raises `UserError` if they cannot be read, or do not belong together.
    """
    # "c": PyTorch wants memory that could be written to. The file is never written to.
    images = map_array(array, "c")
    rows = [row for _, row in read_rows(table, ("id", "label"))]
    check_rows(array, images, table, len(rows))
    return PackedImages(images, [image_id for image_id, _ in rows], [label for _, label in rows])


@dataclass(frozen=True)
class PackedFile:
    """A packed array, uint8 [N, H, W, 3], to be read a few images at a time.

    `offset` is that of the first image, in bytes. It is read by plain reads: the pages of a memory
    map would count as this process's memory.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]

    @classmethod
    def from_array(cls, path: Path) -> "PackedFile":
        """Read the header of an array. Raises `UserError` if it cannot be read."""
        mapped = map_array(path, "r")
        return cls(path, mapped.offset, mapped.shape)

    @classmethod
    def from_table(cls, table: Path) -> "PackedFile":
        """Read the header of the array that lies beside its table.

        Raises `UserError` if it cannot be read, or does not belong to the table.
        """
        path = table.with_suffix(".npy")
        check_rows(path, map_array(path, "r"), table, count_rows(table))
        return cls.from_array(path)

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, first: int, count: int) -> np.ndarray:
        """Return `count` images from row `first` on, as uint8 [count, H, W, 3]."""
        size = math.prod(self.shape[1:])
        content = np.fromfile(self.path, np.uint8, count * size, offset=self.offset + first * size)
        return content.reshape(count, *self.shape[1:])

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield all images in turn, as uint8 [some, H, W, 3] of `CHUNK_BYTES` or one image."""
        step = max(1, CHUNK_BYTES // math.prod(self.shape[1:]))
        for first in range(0, len(self), step):
            yield self.read(first, min(step, len(self) - first))


def map_array(path: Path, mode: Literal["r", "c"]) -> np.memmap:
    """Map a packed array into memory. Raises `UserError` if it cannot be read."""
    try:
        mapped: np.memmap = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run with --forcerun pack") from None
    return mapped


def check_rows(path: Path, array: np.ndarray, table: Path, rows: int) -> None:
    """Raise `UserError` if an array is not of images, or not of as many as its table has rows."""
    if array.dtype != np.uint8 or array.ndim != 4 or len(array) != rows:
        raise UserError(f"{path}: does not belong to {table}; run again with --forcerun pack")


def read_classes(path: Path) -> tuple[str, ...]:
    """Return the names of the classes, in the order of the logits."""
    return tuple(path.read_text(encoding="utf-8").splitlines())


def read_split(split: Path, ids: Iterable[str]) -> list[str]:
    """Return "train" or "valid" for each of some labelled images.

    Raises `UserError` if one of them has no row in the table that `splitting.write_split` wrote.
    """
    split_of = {image_id: name for _, (image_id, name) in read_rows(split, ("id", "split"))}
    try:
        return [split_of[image_id] for image_id in ids]
    except KeyError as missing:
        raise UserError(
            f"{split}: has no row for the labelled image {missing}; run again with --forcerun split"
        ) from None
