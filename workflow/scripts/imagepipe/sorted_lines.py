"""Sorting more lines than the memory is to hold."""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

LINES_PER_RUN = 20_000


def sorted_lines(lines: Iterable[str], folder: Path) -> Iterator[str]:
    """Yield lines, each of which ends with its only \\n, in the order of their characters.

    If there are many, they are sorted in runs, which lie in files in `folder` that have no name, so
    that nothing is left of them however this process ends.
    """
    remaining = iter(lines)
    with ExitStack() as files:
        runs: list[Iterable[str]] = []
        while run := sorted(islice(remaining, LINES_PER_RUN)):
            if not runs and len(run) < LINES_PER_RUN:
                yield from run
                return
            file = files.enter_context(
                tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", dir=folder)
            )
            file.writelines(run)
            file.seek(0)
            runs.append(file)
        yield from heapq.merge(*runs)
