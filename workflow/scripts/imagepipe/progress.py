"""Progress of long loops: a bar on a terminal, log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


class Counter(Protocol):
    """Counts and shows the progress of a loop."""

    def advance(self, units: int) -> None:
        """Add the units done since the last call."""

    def show(self, figures: str) -> None:
        """Show `figures` beside the count from now on."""


def progress(
    iterable: Iterable[Item], *, total: int | None, description: str, unit: str
) -> Iterator[Item]:
    """Yield the items of `iterable` and show their progress (see `counter`)."""
    with counter(total=total, description=description, unit=unit) as bar:
        for item in iterable:
            yield item
            bar.advance(1)


@contextmanager
def counter(
    *, total: int | None, description: str, unit: str, initial: int = 0
) -> Iterator[Counter]:
    """Yield a counter of finished units, and show it.

    `total` is the number of units, if known; `initial` were done earlier; `unit` is a plural, such
    as "images". On a terminal this draws a bar and removes it at the end of the block. Elsewhere
    (a file, a cluster's log) it logs a line every ten seconds.
    """
    if not sys.stderr.isatty():
        yield _Lines(total, description, unit, initial)
        return
    bar: tqdm[Any] = tqdm(
        total=total,
        desc=description,
        unit=f" {unit}",
        initial=initial,
        leave=False,
        dynamic_ncols=True,
    )
    with bar:
        yield _Bar(bar)


@dataclass
class _Bar:
    bar: "tqdm[Any]"

    def advance(self, units: int) -> None:
        self.bar.update(units)

    def show(self, figures: str) -> None:
        self.bar.set_postfix_str(figures, refresh=False)


@dataclass
class _Lines:
    total: int | None
    description: str
    unit: str
    initial: int
    figures: str = ""
    start: float = field(default_factory=lambda: time.monotonic())
    last_line: float = field(default_factory=lambda: time.monotonic())
    done: int = 0

    def advance(self, units: int) -> None:
        self.done += units
        now = time.monotonic()
        if now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            logger.info(self.line(now - self.start))

    def show(self, figures: str) -> None:
        self.figures = figures

    def line(self, seconds: float) -> str:
        done = self.initial + self.done
        rate = self.done / seconds
        parts = [f"{done:,} {self.unit}", f"{rate:,.0f}/s"]
        if self.total is not None:
            parts[0] = f"{done:,} of {self.total:,} {self.unit}"
            left = round((self.total - done) / rate) if rate else 0
            parts.append(f"{tqdm.format_interval(left)} left")
        if self.figures:
            parts.append(self.figures)
        return f"{self.description}: {', '.join(parts)}"
