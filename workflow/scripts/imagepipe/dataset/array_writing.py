"""Writing decoded images into array files, by several processes at once."""

import os
from bisect import bisect
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from imagepipe.dataset.decoding import BadImage, decode
from imagepipe.files import check_room, write_at
from imagepipe.parallel import Advance, run_tasks

IMAGES_BETWEEN_ADVANCES = 100
# Starting a process takes as long as decoding this many images.
IMAGES_PER_PROCESS = 5_000
ROWS_AT_ONCE = 100


class ImageSource(Protocol):
    """Some images that are to be decoded."""

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Yield each image's row (see `ArrayFile`), and the content of its file."""


@dataclass(frozen=True)
class ArrayFile:
    """An array file. Rows are counted on from one array to the next.

    `offset` is where the first row begins, in bytes.
    """

    path: Path
    first_row: int
    offset: int


@dataclass(frozen=True)
class Decoded:
    """What decoding found.

    `formats` counts the images by the index of their array and their format, and `problems` says
    what is wrong with the bad image of a row.
    """

    formats: Counter[tuple[int, str]] = field(default_factory=Counter)
    problems: dict[int, str] = field(default_factory=dict)


def write_arrays(
    sources: Sequence[ImageSource], counts: Mapping[Path, int], image_size: int, workers: int
) -> Decoded:
    """Write the decoded images of the sources into array files.

    `counts` says how many rows each array has. The row of a bad image stays black. No process holds
    more than a few images at once.
    """
    image_bytes = 3 * image_size**2
    arrays: list[ArrayFile] = []
    total = 0
    for path, count in counts.items():
        check_room(path.parent, count * image_bytes)
        with path.open("wb") as file:
            write_header(file, count, image_size)
            arrays.append(ArrayFile(path, total, file.tell()))
            file.truncate(file.tell() + count * image_bytes)
        total += count
    results = run_tasks(
        partial(decode_images, arrays, image_size),
        sources,
        workers,
        total=total,
        description="decode",
        unit="images",
        units_per_process=IMAGES_PER_PROCESS,
    )
    decoded = Decoded()
    for result in results:
        decoded.formats.update(result.formats)
        decoded.problems.update(result.problems)
    return decoded


def write_header(file: BinaryIO, count: int, image_size: int) -> None:
    """Write the header of a .npy file of uint8 [count, image_size, image_size, 3]."""
    shape = (count, image_size, image_size, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def decode_images(
    arrays: Sequence[ArrayFile], image_size: int, source: ImageSource, advance: Advance
) -> Decoded:
    """Decode the images of a source into the array files."""
    decoded = Decoded()
    image_bytes = 3 * image_size**2
    first_rows = [array.first_row for array in arrays]
    with ExitStack() as stack:
        files = [stack.enter_context(a.path.open("r+b", buffering=0)) for a in arrays]
        # Neighboring rows are written at once. One by one, they take a tenth of all the time.
        neighbors: list[bytes] = []
        first = 0

        def write_neighbors() -> None:
            index = bisect(first_rows, first) - 1
            offset = arrays[index].offset + (first - first_rows[index]) * image_bytes
            write_at(files[index].fileno(), b"".join(neighbors), offset)
            neighbors.clear()

        for number, (row, content) in enumerate(source.read(), start=1):
            if number % IMAGES_BETWEEN_ADVANCES == 0:
                advance(IMAGES_BETWEEN_ADVANCES)
            try:
                pixels, image_format = decode(content, image_size)
            except BadImage as problem:
                decoded.problems[row] = str(problem)
                continue
            decoded.formats[bisect(first_rows, row) - 1, image_format] += 1
            is_next = row == first + len(neighbors) and row not in first_rows
            if not is_next or len(neighbors) == ROWS_AT_ONCE:
                write_neighbors()
                first = row
            neighbors.append(pixels)
        write_neighbors()
    return decoded


def remove_rows(path: Path, rows: Collection[int]) -> None:
    """Leave rows out of an array file."""
    array = np.load(path, mmap_mode="r")
    kept = [row for row in range(len(array)) if row not in rows]
    shorter = path.with_name(f"{path.name.removesuffix('.part')}.kept.part")
    with shorter.open("wb") as file:
        write_header(file, len(kept), array.shape[1])
        for start in range(0, len(kept), ROWS_AT_ONCE):
            file.write(array[kept[start : start + ROWS_AT_ONCE]])
    os.replace(shorter, path)
