"""Trainings in the terminal: a picture that is drawn again every second, or a single one."""

import itertools
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from imagepipe.display.escaping import shorten
from imagepipe.interruption import handled
from imagepipe.watch.braille import LOWEST, NARROWEST, draw
from imagepipe.watch.curves import plots_of, to_plot
from imagepipe.watch.status import State, TrainingStatus, Watcher, pause_after
from imagepipe.watch.texts import (
    METRIC,
    NO_TRAININGS,
    TEXT_COLUMNS,
    cells,
    columns,
    doing,
    name,
    note,
    tally,
)

# Where the output is no terminal, so that the table has all its columns.
PLAIN_WIDTH = 180
LONGEST_NAME = 50
WIDEST_PLOT, HIGHEST_PLOT = 70, 14
MOST_PLOTTED = 4
STYLES = {
    State.RUNNING: "bold cyan",
    State.STARTING: "dim",
    State.FAILED: "bold red",
    State.STOPPED: "yellow",
    State.STALE: "bold yellow",
    State.FINISHED: "green",
}
CURVE_STYLES = {"train": "magenta", "valid": "green"}
# The columns that a narrow terminal does without, the first ones first.
LEAST_NEEDED = ("device", "lr", "images/s", "train acc", "time", "train loss", METRIC, "dataset")


def print_once(folder: Path) -> None:
    """Print the trainings below a folder; plain text if the output is no terminal."""
    console = _console()
    found = Watcher(folder).look()
    if _is_terminal():
        console.print(_picture(console.width, folder, found))
        return
    with console.capture() as capture:
        console.print(_picture(console.width, folder, found))
    print(*(line.rstrip() for line in capture.get().splitlines()), sep="\n")


def watch(folder: Path) -> None:
    """Show the trainings below a folder until a key or SIGINT ends it; leave the last table.

    Without a terminal, print one picture.
    """
    if not _is_terminal():
        print_once(folder)
        return
    console, watcher = _console(), Watcher(folder)
    found: list[TrainingStatus] = []
    try:
        with (
            _sigterm_as_exit(),
            _keys() as is_ended,
            Live(console=console, screen=True, auto_refresh=False) as live,
        ):
            seconds = 0.0
            while not is_ended(seconds):
                start = time.monotonic()
                found = watcher.look()
                seconds = pause_after(time.monotonic() - start)
                picture = _picture(console.width, folder, found, console.height)
                live.update(picture, refresh=True)
    except KeyboardInterrupt:
        pass
    console.print(_picture(console.width, folder, found, with_plots=False))


def _picture(
    width: int,
    folder: Path,
    found: Sequence[TrainingStatus],
    height: int | None = None,
    *,
    with_plots: bool = True,
) -> Group:
    """Return the table of trainings, and the curves of those that run, or of the last one.

    Without a `height`, all trainings are in the table.
    """
    now = time.time()
    keys = "" if height is None else "   q ends"
    rest = f"   {time.strftime('%H:%M:%S', time.localtime(now))}{keys}   {tally(found)}"
    head = Text("imagepipe watch ", no_wrap=True, overflow="ellipsis")
    head.append(shorten(str(folder), max(20, width - len(head) - len(rest))), "bold")
    head.append(rest)
    if not found:
        return Group(head, Text(NO_TRAININGS))
    shown = found if height is None else found[: max(3, height // 3 - 1)]
    parts: list[Text | Table] = [head, _table(shown, width)]
    if len(shown) < len(found):
        parts.append(Text(f"and {len(found) - len(shown)} more, which --once shows", "dim"))
    parts += _notes(shown, width, now, None if height is None else height // 6)
    if not with_plots:
        return Group(*parts)
    plotted = to_plot(found, MOST_PLOTTED)
    highest = HIGHEST_PLOT
    if height is not None and plotted:
        # The table has a line of names. A plot has an empty line and its title above it.
        room = height - len(parts) - len(shown)
        plotted = plotted[: room // (LOWEST + 2)] if width >= NARROWEST else []
        highest = min(HIGHEST_PLOT, room // max(1, len(plotted)) - 2)
    for one in plotted:
        parts += _curves(one, width, highest)
    return Group(*parts)


def _notes(
    shown: Sequence[TrainingStatus], width: int, now: float, most_lines: int | None
) -> list[Text]:
    """Return the notes of trainings: each on one line or, if lines are limited, wrapped."""
    notes = [
        Text.assemble(
            (f"{shorten(name(one), LONGEST_NAME)}: ", "bold"), text, no_wrap=True, overflow="ignore"
        )
        for one in sorted(shown, key=lambda one: one.state == State.STARTING)
        if (text := note(one, now))
    ]
    if most_lines is None:
        return notes
    lines: list[Text] = []
    for one_note in notes:
        wrapped = one_note.wrap(Console(width=width), width, no_wrap=False, overflow="fold")
        if lines and len(lines) + len(wrapped) > most_lines:
            break
        lines += wrapped[:most_lines]
    return lines


def _table(found: Sequence[TrainingStatus], width: int) -> Table:
    """Return the table of trainings, without its least needed columns if it is too wide."""
    rows = [cells(one) for one in found]
    for row in rows:
        for column in ("dataset", "run"):
            row[column] = shorten(row[column], min(LONGEST_NAME, max(10, width // 3)))
    kept = columns(rows)
    widths = {
        column: max(len(column), *(len(row.get(column, "")) for row in rows)) for column in kept
    }
    for column in LEAST_NEEDED:
        if sum(widths[one] + 2 for one in kept) <= width:
            break
        if column in kept:
            kept.remove(column)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in kept:
        table.add_column(
            column,
            justify="left" if column in TEXT_COLUMNS else "right",
            no_wrap=True,
            overflow="ellipsis",
        )
    for one, row in zip(found, rows, strict=True):
        table.add_row(
            *(
                Text(row.get(column, ""), STYLES[one.state] if column == "state" else "")
                for column in kept
            )
        )
    return table


def _curves(one: TrainingStatus, width: int, height: int) -> list[Text]:
    """Return the curves of a training, below its name and what it does; `height` is a plot's."""
    title = Text("\n", no_wrap=True, overflow="ellipsis")
    title.append(shorten(name(one), max(10, width // 2)), "bold")
    title.append(f": {doing(one)}")
    if not one.epochs:
        return [title, Text("its curves begin after the first epoch", "dim")]
    plots = plots_of(one)
    side = max(1, min(len(plots), width // NARROWEST))
    each = min(WIDEST_PLOT, width // side)
    drawn = [draw(plot, CURVE_STYLES, each, height) for plot in plots[-side:]]
    lines = zip(*drawn, strict=True)
    return [title, *(Text.assemble(*itertools.chain(*line), no_wrap=True) for line in lines)]


def _is_terminal() -> bool:
    """Say whether the output is a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def _console() -> Console:
    # A terminal without UTF-8 shows "?" for what it lacks.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    if _is_terminal():
        return Console(highlight=False)
    return Console(width=PLAIN_WIDTH, highlight=False, color_system=None, force_terminal=False)


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Leave the block by SystemExit on SIGTERM and SIGHUP, so that the terminal is restored."""

    def leave(number: int, _: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    with handled((signal.SIGTERM, signal.SIGHUP), leave):
        yield


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Yield a function that waits for some seconds and says whether q was pressed.

    Keys are not shown within the block, and Ctrl-Z, which would leave a picture behind, is off.
    """
    if not sys.stdin.isatty():

        def sleep(seconds: float) -> bool:
            time.sleep(seconds)
            return False

        yield sleep
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def wait(seconds: float) -> bool:
        end = time.monotonic() + seconds
        while select.select([keyboard], [], [], max(0.0, end - time.monotonic()))[0]:
            # Nothing is read where the terminal has gone.
            if os.read(keyboard, 1) in (b"q", b"Q", b""):
                return True
        return False

    try:
        tty.setcbreak(keyboard)
        settings = termios.tcgetattr(keyboard)
        settings[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(keyboard, termios.TCSANOW, settings)
        yield wait
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
