"""Progress of long loops: a bar on a terminal, a plain line now and then elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


def progress(
    iterable: Iterable[Item], *, total: int | None, description: str, unit: str
) -> Iterator[Item]:
    """Yield the items of `iterable` and show how far it has come (see `counter`)."""
    with counter(total=total, description=description, unit=unit) as advance:
        for item in iterable:
            yield item
            advance(1)


@contextmanager
def counter(*, total: int | None, description: str, unit: str) -> Iterator[Callable[[int], object]]:
    """Give a function that is called with the number of units done since the last call.

    `total` is the number of units if it is known, `unit` the plural of what is counted
    ("images"). On a terminal it draws a bar that goes when the block ends. Elsewhere (a file, a
    cluster's log) it logs a line every ten seconds.
    """
    if sys.stderr.isatty():
        with tqdm(
            total=total, desc=description, unit=f" {unit}", leave=False, dynamic_ncols=True
        ) as bar:
            yield bar.update
        return

    start = last_line = time.monotonic()
    done = 0

    def advance(units: int) -> None:
        nonlocal last_line, done
        done += units
        now = time.monotonic()
        if now - last_line >= SECONDS_BETWEEN_LINES:
            last_line = now
            of_total = "" if total is None else f" of {total:,}"
            rate = done / (now - start)
            logger.info(
                "%s: %s%s %s, %s/s", description, f"{done:,}", of_total, unit, f"{rate:,.0f}"
            )

    yield advance
