"""Writing arrays of decoded images, by several processes at once."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from imagepipe.decoding import BadImage, decode
from imagepipe.files import check_room, write_at
from imagepipe.parallel import Advance, run_tasks

IMAGES_BETWEEN_ADVANCES = 100
# Starting a process takes as long as decoding this many images.
IMAGES_PER_PROCESS = 5_000
ROWS_AT_ONCE = 100


@dataclass(frozen=True)
class Options:
    """Height and width of every image, what to do with a bad one ("error" or "drop"), processes."""

    image_size: int
    on_bad_image: str = "error"
    workers: int = 1


class Source(Protocol):
    """Some images that are to be decoded, each with the row of the array that it goes to."""

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Yield (row, content of the file)."""


@dataclass(frozen=True)
class Task:
    """Some images, and the array file, whose rows begin at the byte `start`, that they go to."""

    source: Source
    target: Path
    start: int
    image_size: int


@dataclass
class Decoded:
    """What was found in decoding: how many images of each kind, and the problems of bad ones."""

    kinds: Counter[str] = field(default_factory=Counter)
    problems: dict[int, str] = field(default_factory=dict)


def write_arrays(
    sources_of: Mapping[Path, Sequence[Source]], counts: Mapping[Path, int], options: Options
) -> dict[Path, Decoded]:
    """Write the decoded images of the sources into their array files, at their rows.

    The arrays have as many rows as `counts` says. A row whose image is bad stays black. No process
    holds more than a few images at once.
    """
    image_bytes = 3 * options.image_size**2
    tasks: list[Task] = []
    for target, sources in sources_of.items():
        check_room(target.parent, counts[target] * image_bytes)
        with target.open("wb") as file:
            write_header(file, counts[target], options.image_size)
            start = file.tell()
            file.truncate(start + counts[target] * image_bytes)
        tasks += [Task(source, target, start, options.image_size) for source in sources]
    results = run_tasks(
        decode_task,
        tasks,
        options.workers,
        total=sum(counts.values()),
        description="decode",
        unit="images",
        units_per_process=IMAGES_PER_PROCESS,
    )
    decoded = {target: Decoded() for target in sources_of}
    for task, result in zip(tasks, results, strict=True):
        decoded[task.target].kinds.update(result.kinds)
        decoded[task.target].problems.update(result.problems)
    return decoded


def write_header(file: BinaryIO, count: int, image_size: int) -> None:
    """Write the header of a .npy file of uint8 [count, image_size, image_size, 3]."""
    shape = (count, image_size, image_size, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def decode_task(task: Task, advance: Advance) -> Decoded:
    """Decode the images of a task into its array file."""
    decoded = Decoded()
    image_bytes = 3 * task.image_size**2
    # Neighbouring rows, which are written at once: one by one takes a tenth of all the time.
    neighbours: list[bytes] = []
    first = 0
    with task.target.open("r+b", buffering=0) as file:

        def write_neighbours() -> None:
            write_at(file.fileno(), b"".join(neighbours), task.start + first * image_bytes)
            neighbours.clear()

        for number, (row, content) in enumerate(task.source.read(), start=1):
            try:
                pixels, kind = decode(content, task.image_size)
            except BadImage as problem:
                decoded.problems[row] = str(problem)
                continue
            decoded.kinds[kind] += 1
            if row != first + len(neighbours) or len(neighbours) == ROWS_AT_ONCE:
                write_neighbours()
                first = row
            neighbours.append(pixels)
            if number % IMAGES_BETWEEN_ADVANCES == 0:
                advance(IMAGES_BETWEEN_ADVANCES)
        write_neighbours()
    return decoded


def remove_rows(path: Path, rows: Collection[int]) -> None:
    """Leave rows out of an array file."""
    array = np.load(path, mmap_mode="r")
    kept = [row for row in range(len(array)) if row not in rows]
    shorter = path.with_name(f"{path.name.removesuffix('.part')}.kept.part")
    with shorter.open("wb") as file:
        write_header(file, len(kept), array.shape[1])
        for first in range(0, len(kept), ROWS_AT_ONCE):
            file.write(array[kept[first : first + ROWS_AT_ONCE]])
    os.replace(shorter, path)
