"""Progress of long loops: a bar on a terminal, and log lines."""

import itertools
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

from imagepipe import terminal_messages
from imagepipe.terminal_messages import Count

Item = TypeVar("Item")

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_MESSAGES = 0.2
# A shorter loop is not shown by the process that draws the terminal.
SHORTEST_SHOWN = 0.5
# What `_Lines.line` returns.
LINE = re.compile(r".+: [\d,]+( of [\d,]+)? [^,]+, [\d,]+/s(, .+)?")

_numbers = itertools.count()


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
    as "images". A line is logged every ten seconds. On a terminal, there is also a bar until the
    end of the block: this process draws it, or the one that draws for all jobs.
    """
    lines = _Lines(total, description, unit, initial)
    if terminal_messages.is_open():
        messages = _Messages(lines)
        try:
            yield messages
        finally:
            messages.end()
    elif draws_bars():
        with tqdm(
            total=total,
            desc=description,
            unit=f" {unit}",
            initial=initial,
            leave=False,
            dynamic_ncols=True,
        ) as bar:
            yield _Bar(lines, bar)
    else:
        yield lines


def draws_bars() -> bool:
    """Return whether this process itself draws bars."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def is_progress_line(text: str) -> bool:
    """Return whether a line of a log says what a bar shows."""
    return LINE.fullmatch(text) is not None


class _Lines:
    """Logs a line every ten seconds."""

    def __init__(self, total: int | None, description: str, unit: str, initial: int) -> None:
        self.total, self.description, self.unit, self.initial = total, description, unit, initial
        self.figures = ""
        self.done = 0
        self.start = self.last_line = time.monotonic()

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


class _Bar:
    """Draws a bar, beside the lines for the log."""

    def __init__(self, lines: _Lines, bar: "tqdm[Any]") -> None:
        self.lines, self.bar = lines, bar

    def advance(self, units: int) -> None:
        self.lines.advance(units)
        self.bar.update(units)

    def show(self, figures: str) -> None:
        self.lines.show(figures)
        self.bar.set_postfix_str(figures, refresh=False)


class _Messages:
    """Tells the process that draws the terminal, beside the lines for the log."""

    def __init__(self, lines: _Lines) -> None:
        self.lines = lines
        self.number = next(_numbers)
        self.next_message = lines.start + SHORTEST_SHOWN
        self.is_shown = False

    def advance(self, units: int) -> None:
        self.lines.advance(units)
        now = time.monotonic()
        if now >= self.next_message:
            self.next_message = now + SECONDS_BETWEEN_MESSAGES
            self.is_shown = True
            self.send(is_over=False)

    def show(self, figures: str) -> None:
        self.lines.show(figures)

    def end(self) -> None:
        if self.is_shown:
            self.send(is_over=True)

    def send(self, is_over: bool) -> None:
        lines = self.lines
        message = Count(
            number=self.number,
            description=lines.description,
            unit=lines.unit,
            total=lines.total,
            initial=lines.initial,
            done=lines.done,
            seconds=time.monotonic() - lines.start,
            figures=lines.figures,
            is_over=is_over,
        )
        terminal_messages.send(message, wait=is_over)
