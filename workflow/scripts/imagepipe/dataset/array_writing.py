"""Writing arrays of decoded images, by several processes at once."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Options:
    """Height and width of every image, what to do with a bad one ("error" or "drop"), processes."""

    image_size: int
    on_bad_image: str = "error"
    workers: int = 1


class Source(Protocol):
    """Some images that are to be decoded, each with its row, as it is counted in all arrays."""

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Yield (row, content of the file)."""


@dataclass(frozen=True)
class Target:
    """An array file: the row of its first image among all images, and where its rows begin."""

    path: Path
    first_row: int
    start: int


@dataclass(frozen=True)
class Task:
    """Some images, and the array files that they go to."""

    source: Source
    targets: tuple[Target, ...]
    image_size: int


@dataclass
class Decoded:
    """What was found in decoding the images of an array.

    How many there are of each kind, and the problems of bad ones by their row in this array.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    problems: dict[int, str] = field(default_factory=dict)


def write_arrays(
    sources: Iterable[Source], counts: Mapping[Path, int], options: Options
) -> dict[Path, Decoded]:
    """Write the decoded images of the sources into array files, one after the other.

    `counts` says how many rows each has, and the sources count their rows on from one array to the
    next. A row whose image is bad stays black. No process holds more than a few images at once.
    """
    image_bytes = 3 * options.image_size**2
    targets: list[Target] = []
    first_row = 0
    for path, count in counts.items():
        check_room(path.parent, count * image_bytes)
        with path.open("wb") as file:
            write_header(file, count, options.image_size)
            targets.append(Target(path, first_row, file.tell()))
            file.truncate(file.tell() + count * image_bytes)
        first_row += count
    results = run_tasks(
        decode_task,
        (Task(source, tuple(targets), options.image_size) for source in sources),
        options.workers,
        total=sum(counts.values()),
        description="decode",
        unit="images",
        units_per_process=IMAGES_PER_PROCESS,
    )
    decoded = {path: Decoded() for path in counts}
    for result in results:
        for path, found in result.items():
            decoded[path].kinds.update(found.kinds)
            decoded[path].problems.update(found.problems)
    return decoded


def write_header(file: BinaryIO, count: int, image_size: int) -> None:
    """Write the header of a .npy file of uint8 [count, image_size, image_size, 3]."""
    shape = (count, image_size, image_size, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def decode_task(task: Task, advance: Advance) -> dict[Path, Decoded]:
    """Decode the images of a task into the array files."""
    decoded = {target.path: Decoded() for target in task.targets}
    image_bytes = 3 * task.image_size**2
    with ExitStack() as files:
        opened = {t: files.enter_context(t.path.open("r+b", buffering=0)) for t in task.targets}
        # Neighbouring rows, which are written at once: one by one takes a tenth of all the time.
        neighbours: list[bytes] = []
        first, target = 0, task.targets[0]

        def write_neighbours() -> None:
            place = target.start + (first - target.first_row) * image_bytes
            write_at(opened[target].fileno(), b"".join(neighbours), place)
            neighbours.clear()

        for number, (row, content) in enumerate(task.source.read(), start=1):
            owner = target_of(row, task.targets)
            try:
                pixels, kind = decode(content, task.image_size)
            except BadImage as problem:
                decoded[owner.path].problems[row - owner.first_row] = str(problem)
                continue
            decoded[owner.path].kinds[kind] += 1
            if row != first + len(neighbours) or len(neighbours) == ROWS_AT_ONCE or owner != target:
                write_neighbours()
                first, target = row, owner
            neighbours.append(pixels)
            if number % IMAGES_BETWEEN_ADVANCES == 0:
                advance(IMAGES_BETWEEN_ADVANCES)
        write_neighbours()
    return decoded


def target_of(row: int, targets: Sequence[Target]) -> Target:
    """Return the array that a row, as it is counted in all of them, belongs to."""
    return next(target for target in reversed(targets) if row >= target.first_row)


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
