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
from PIL import Image

from imagepipe.dataset.decoding import BadImage, decode, read_size
from imagepipe.dataset.fitting import Target
from imagepipe.dataset.packed import PackedFile
from imagepipe.files import check_room, write_at
from imagepipe.parallel import Advance, run_tasks

IMAGES_BETWEEN_ADVANCES = 100
# Starting a process takes as long as decoding this many small images, or files of so many bytes.
IMAGES_PER_PROCESS = 5_000
BYTES_PER_PROCESS = 10_000_000
# How much of an array is written at once.
ROWS_AT_ONCE = 100
BYTES_AT_ONCE = 1 << 19


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

    `formats` counts the images by the index of their array and their format. `problems` says what
    is wrong with the bad image of a row, and `salvaged` the same of one whose row has what could be
    decoded. `histogram` counts the values of each channel, int64 [3, 256], in the first array.
    """

    formats: Counter[tuple[int, str]] = field(default_factory=Counter)
    problems: dict[int, str] = field(default_factory=dict)
    salvaged: dict[int, str] = field(default_factory=dict)
    histogram: np.ndarray = field(default_factory=lambda: np.zeros((3, 256), dtype=np.int64))


def read_sizes(sources: Sequence[ImageSource], images: int, workers: int) -> set[tuple[int, int]]:
    """Return the heights and widths that the headers of the sources' images promise."""
    found = run_tasks(
        sizes_of_source,
        sources,
        workers,
        total=images,
        description="read sizes",
        unit="images",
        units_per_process=IMAGES_PER_PROCESS,
    )
    return set[tuple[int, int]]().union(*found)


def sizes_of_source(source: ImageSource, advance: Advance) -> set[tuple[int, int]]:
    """Return the heights and widths of a source's images, as far as they can be read."""
    sizes: set[tuple[int, int]] = set()
    for number, (_, content) in enumerate(source.read(), start=1):
        if number % IMAGES_BETWEEN_ADVANCES == 0:
            advance(IMAGES_BETWEEN_ADVANCES)
        size = read_size(content)
        if size is not None:
            sizes.add(size)
    return sizes


def write_arrays(
    sources: Sequence[ImageSource],
    counts: Mapping[Path, int],
    target: Target,
    workers: int,
    *,
    salvage: bool = False,
    file_bytes: int = 0,
) -> Decoded:
    """Write the decoded images of the sources into array files.

    `counts` says how many rows each array has, and `file_bytes` how large all files are. The row of
    a bad image stays black; `salvage` decodes what can be decoded of it. No process holds more than
    a few images at once.
    """
    image_bytes = 3 * target.height * target.width
    arrays: list[ArrayFile] = []
    total = 0
    check_room(next(iter(counts)).parent, sum(counts.values()) * image_bytes)
    for path, count in counts.items():
        with path.open("wb") as file:
            write_header(file, count, target.height, target.width)
            arrays.append(ArrayFile(path, total, file.tell()))
            file.truncate(file.tell() + count * image_bytes)
        total += count
    results = run_tasks(
        partial(decode_images, arrays, target, salvage),
        sources,
        workers,
        total=total,
        description="decode",
        unit="images",
        units_per_process=min(
            IMAGES_PER_PROCESS, max(1, total * BYTES_PER_PROCESS // max(1, file_bytes))
        ),
    )
    decoded = Decoded()
    for result in results:
        decoded.formats.update(result.formats)
        decoded.problems.update(result.problems)
        decoded.salvaged.update(result.salvaged)
        np.add(decoded.histogram, result.histogram, out=decoded.histogram)
    return decoded


def write_header(file: BinaryIO, count: int, height: int, width: int) -> None:
    """Write the header of a .npy file of uint8 [count, height, width, 3]."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, height, width, 3)}
    np.lib.format.write_array_header_1_0(file, header)


def decode_images(
    arrays: Sequence[ArrayFile],
    target: Target,
    salvage: bool,
    source: ImageSource,
    advance: Advance,
) -> Decoded:
    """Decode the images of a source into the array files."""
    decoded = Decoded()
    image_bytes = 3 * target.height * target.width
    most_rows = min(ROWS_AT_ONCE, max(1, BYTES_AT_ONCE // image_bytes))
    first_rows = [array.first_row for array in arrays]
    with ExitStack() as stack:
        files = [stack.enter_context(a.path.open("r+b", buffering=0)) for a in arrays]
        # Neighboring rows are written at once. One by one, they take a tenth of all the time.
        neighbors: list[bytes] = []
        first = 0

        def write_neighbors() -> None:
            index = bisect(first_rows, first) - 1
            offset = arrays[index].offset + (first - first_rows[index]) * image_bytes
            content = b"".join(neighbors)
            write_at(files[index].fileno(), content, offset)
            if index == 0 and neighbors:
                size = (target.width, target.height * len(neighbors))
                counts = np.reshape(Image.frombytes("RGB", size, content).histogram(), (3, 256))
                np.add(decoded.histogram, counts, out=decoded.histogram)
            neighbors.clear()

        for number, (row, content) in enumerate(source.read(), start=1):
            if number % IMAGES_BETWEEN_ADVANCES == 0:
                advance(IMAGES_BETWEEN_ADVANCES)
            try:
                pixels, image_format = decode(content, target)
            except BadImage as bad:
                if not salvage:
                    decoded.problems[row] = str(bad)
                    continue
                try:
                    pixels, image_format = decode(content, target, salvage=True)
                except BadImage as hopeless:
                    decoded.problems[row] = str(hopeless)
                    continue
                decoded.salvaged[row] = bad.problem
            decoded.formats[bisect(first_rows, row) - 1, image_format] += 1
            is_next = row == first + len(neighbors) and row not in first_rows
            if not is_next or len(neighbors) == most_rows:
                write_neighbors()
                first = row
            neighbors.append(pixels)
        write_neighbors()
    return decoded


def remove_rows(path: Path, rows: Collection[int]) -> None:
    """Leave rows out of an array file."""
    array = PackedFile.from_array(path)
    kept = np.ones(len(array), dtype=bool)
    kept[list(rows)] = False
    shorter = path.with_name(f"{path.name.removesuffix('.part')}.kept.part")
    with shorter.open("wb") as file:
        write_header(file, int(kept.sum()), *array.shape[1:3])
        first = 0
        for images in array.chunks():
            file.write(images[kept[first : first + len(images)]].data)
            first += len(images)
    os.replace(shorter, path)
