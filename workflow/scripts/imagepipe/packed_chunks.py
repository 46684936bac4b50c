"""Reading a packed array a few images at a time, so that it need not fit into the memory."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CHUNK_BYTES = 4 << 20  # 1,365 images of 32×32


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
        """Read the header of an array that `packed_images.read_packed` has accepted."""
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        return cls(path, mapped.offset, mapped.shape)

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
