"""Reading a packed array a few images at a time, so that it need not fit into the memory."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from imagepipe.errors import UserError
from imagepipe.files import count_rows

CHUNK_BYTES = 4 << 20  # 1,365 images of 32×32


def open_packed(path: Path, mode: Literal["r", "c"]) -> np.memmap:
    """Map an array that `pack` wrote. Raises `UserError` if it cannot be read."""
    try:
        mapped: np.memmap = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run with --forcerun pack") from None
    return mapped


def check_packed(path: Path, array: np.ndarray, table: Path, rows: int) -> None:
    """Raise `UserError` if an array is none of images, or has not as many as its table has rows."""
    if array.dtype != np.uint8 or array.ndim != 4 or len(array) != rows:
        raise UserError(f"{path}: does not belong to {table}; run again with --forcerun pack")


@dataclass(frozen=True)
class PackedFile:
    """A packed array, uint8 [N, H, W, 3]: where its first image starts, and the shape.

    It is read by plain reads. The pages of a memory map would count as this process's memory.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, path: Path) -> "PackedFile":
        """Read the header of an array. Raises `UserError` if it cannot be read."""
        mapped = open_packed(path, "r")
        return cls(path, mapped.offset, mapped.shape)

    @classmethod
    def of_table(cls, table: Path) -> "PackedFile":
        """Read the header of the array that lies beside its table.

        Raises `UserError` if it cannot be read, or does not belong to the table.
        """
        path = table.with_suffix(".npy")
        check_packed(path, open_packed(path, "r"), table, count_rows(table))
        return cls.of(path)

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
