"""A run on a terminal: what is finished scrolls up; below it is a row for each running stage.

While it is open, this process alone writes to the terminal. A named pipe takes the place of
standard output and standard error, of this process and its jobs. Through it the jobs send messages
(`imagepipe.terminal_messages`); everything else that arrives there is shown as plain text.

The cursor is never hidden and no mode of the terminal is changed, so that there is nothing to
restore after a SIGKILL.
"""

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.filesize import decimal
from rich.progress_bar import ProgressBar
from rich.text import Text

from imagepipe import terminal_messages
from imagepipe.config.summary import duration
from imagepipe.errors import escaped
from imagepipe.terminal_messages import Count, Line

SECONDS_BETWEEN_DRAWS = 0.2
# A longer wait means that Ctrl-Z has stopped this process.
SECONDS_OF_A_STOP = 1.5
# A stage's lines are held back for so long, so that a short stage becomes one block.
SECONDS_HELD = 2.0
# No less than a pipe holds.
READ_SIZE = 1 << 16
READS_AT_ONCE = 16
# Narrower terminals have no room for counts.
WIDTH_WITH_COUNTS = 130
# The time of a stage ends in this column, or at the edge of a narrower terminal.
LAST_COLUMN = 88
TIME_WIDTH = len("12 min 34 s")
# A text that is too long is cut before this many characters at its end.
END_KEPT = 24
MARKS = {
    "begun": ("▸", ">", "bold"),
    "done": ("✓", "+", "green"),
    "failed": ("✗", "x", "red"),
    "stopped": ("■", "-", "yellow"),
}


@dataclass
class Stage:
    """A job. name: its rule, and what sets it apart from other jobs of this rule."""

    rule: str
    text: str
    wildcards: Mapping[str, str]
    log: str
    name: str
    begun: float = field(default_factory=time.monotonic)
    # Its lines that are not shown yet, with their styles, and since when there are any.
    held: list[tuple[str, str]] = field(default_factory=list)
    held_since: float = 0.0
    has_heading: bool = False
    # The number of a cluster's job.
    submitted_as: str = ""
    # Its loops that are not over.
    counts: dict[int, Count] = field(default_factory=dict)


class Blocks:
    """The lines that scroll up: a block for each stage, with its own lines below its heading.

    `ready` has the lines that are to be written next. width: that of the terminal.
    """

    def __init__(self, name_width: int, width: int, ascii_only: bool) -> None:
        self.name_width, self.width, self.ascii_only = name_width, width, ascii_only
        self.ready: list[Text] = []
        # The stage whose block is the last one and can be continued.
        self.open: Stage | None = None

    def add(self, stage: Stage, text: str, is_warning: bool = False) -> None:
        """Add a line of a stage."""
        if not stage.held:
            stage.held_since = time.monotonic()
        stage.held.append((printable(text), "yellow" if is_warning else ""))

    def show(self, lines: Iterable[str]) -> None:
        """Add lines that belong to no stage."""
        self.ready += [Text(printable(line)) for line in lines]
        self.open = None

    def release(self, stage: Stage) -> None:
        """Show the lines of a stage: below its heading, or with its name if others came between."""
        if not stage.has_heading:
            self._add_heading(stage, "begun")
            self.open = stage
        name = f"{stage.name:<{self.name_width}}"
        for text, style in stage.held:
            start = ("    ", "") if self.open is stage else (f"  {name}  ", "bold")
            self.ready.append(Text.assemble(start, (text, style)))
        if stage.held and self.open is not stage:
            self.open = None
        stage.held.clear()

    def end(self, stage: Stage, how: str) -> None:
        """Show that a stage has ended, and its remaining lines."""
        if stage.has_heading:
            self.release(stage)
        self._add_heading(stage, how)
        self.open = stage
        self.release(stage)
        self.open = None

    def _add_heading(self, stage: Stage, how: str) -> None:
        mark, ascii_mark, style = MARKS[how]
        heading = Text.assemble(
            (ascii_mark if self.ascii_only else mark, style),
            (f" {stage.rule:<{self.name_width}}  ", "bold"),
        )
        room = min(self.width, LAST_COLUMN) - heading.cell_len - TIME_WIDTH - 2
        text = shortened(printable(stage.text), room)
        heading.append(text)
        if how != "begun":
            heading.pad_right(max(room - cell_len(text), 0))
            seconds = time.monotonic() - stage.begun
            heading.append(f"  {duration(seconds):>{TIME_WIDTH}}", "dim")
        self.ready.append(heading)
        stage.has_heading = True


class Screen:
    """Draws a run on the terminal behind `stream`.

    stages: the number of all stages. rules: the names of their rules.
    """

    def __init__(self, stream: TextIO, stages: int, rules: Iterable[str]) -> None:
        self.stages, self.finished = stages, 0
        self.running: dict[int, Stage] = {}
        # By rule and log, so that a job that is tried again is one.
        self.seen: dict[str, dict[str, Stage]] = {}
        self.begun = time.monotonic()
        stream.flush()
        self.encoding = stream.encoding
        self.terminal = open_terminal(stream.fileno())
        # What the terminal has not taken yet.
        self.unwritten = b""
        self.is_closed = False
        # Its output is captured; the file only tells the encoding.
        self.console = Console(file=stream, force_terminal=True, highlight=False)
        # The rows below the lines that scroll, and the terminal's width when they were drawn.
        self.drawn: list[Text] = []
        self.drawn_width = self.last_width = self._size()[0]
        self.blocks = Blocks(
            max(map(len, rules), default=0), self.last_width, self.console.options.ascii_only
        )
        self.problem: Exception | None = None
        self._open_pipe()
        # Held by all public methods: they are called by Snakemake's threads.
        self.lock = threading.RLock()
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        atexit.register(self.close)

    def _open_pipe(self) -> None:
        """Put a named pipe in the place of standard output and standard error."""
        self.folder = Path(tempfile.mkdtemp(prefix="imagepipe-"))
        path = self.folder / "terminal"
        try:
            os.mkfifo(path, 0o600)
        except OSError:
            self.folder.rmdir()
            raise
        self.pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.unread = b""
        os.environ[terminal_messages.PIPE] = str(path)
        writer = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        # A stream that was closed from the start is None, and its number may be another file's.
        fds = [fd for fd, stream in ((1, sys.stdout), (2, sys.stderr)) if stream is not None]
        self.replaced = {fd: os.dup(fd) for fd in fds if os.isatty(fd)}
        for fd in self.replaced:
            os.dup2(writer, fd)
        os.close(writer)

    def begin(
        self, number: int, rule: str, text: str, wildcards: Mapping[str, str], log: str
    ) -> None:
        """Show a row for the job with this number, which begins."""
        with self.lock:
            stage = self.running[number] = Stage(rule, text, wildcards, log, rule)
            of_rule = self.seen.setdefault(rule, {})
            of_rule[log] = stage
            set_names(list(of_rule.values()))

    def note_submission(self, numbers: Iterable[int], submitted_as: str) -> None:
        """Show the number that a cluster has given to some jobs."""
        with self.lock:
            for number in numbers:
                if number in self.running:
                    self.running[number].submitted_as = submitted_as

    def end(self, number: int, how: str, lines: Iterable[str] = ()) -> None:
        """Show that a job is "done", "failed" or "stopped", and lines about that."""
        with self.lock:
            # The job's last messages are still in the pipe.
            self._read()
            stage = self.running.pop(number, None)
            if stage is not None:
                self.finished += how == "done"
                for line in lines:
                    self.blocks.add(stage, line, is_warning=True)
                self.blocks.end(stage, how)

    def show(self, lines: Iterable[str]) -> None:
        """Show lines that belong to no stage."""
        with self.lock:
            self._read()
            self.blocks.show(lines)

    def close(self) -> None:
        """Show what is left, remove the rows, and give the terminal back."""
        # While the pipe is still read, because it may be full.
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self.ending.set()
        self.thread.join()
        with self.lock:
            if self.is_closed:
                return
            self.is_closed = True
            atexit.unregister(self.close)
            for fd, original in self.replaced.items():
                os.dup2(original, fd)
                os.close(original)
            os.environ.pop(terminal_messages.PIPE, None)
            self._read()
            self._take(self.unread)
            os.close(self.pipe)
            shutil.rmtree(self.folder, ignore_errors=True)
            for stage in self.running.values():
                if stage.held:
                    self.blocks.release(stage)
            self.running.clear()
            # The terminal may be gone.
            with contextlib.suppress(OSError):
                os.set_blocking(self.terminal, True)
                self._draw([])
                if self.problem is not None:
                    self.blocks.show([f"the rows of stages could not be drawn: {self.problem!r}"])
                    self._write("".join(f"{line.plain}\n" for line in self.blocks.ready))
            os.close(self.terminal)

    def _run(self) -> None:
        waiting_since = time.monotonic()
        while not self.ending.wait(SECONDS_BETWEEN_DRAWS):
            with self.lock:
                now = time.monotonic()
                if now - waiting_since > SECONDS_OF_A_STOP:
                    # Others have written below the rows.
                    self.drawn = []
                self._read()
                for stage in self.running.values():
                    if stage.held and now - stage.held_since >= SECONDS_HELD:
                        self.blocks.release(stage)
                self._draw(None)
                waiting_since = time.monotonic()

    def _read(self) -> None:
        """Take what has arrived in the pipe."""
        # Not without end, if a job writes more and more.
        for _ in range(READS_AT_ONCE):
            try:
                data = os.read(self.pipe, READ_SIZE)
            except BlockingIOError:
                return
            if not data:
                return
            *lines, self.unread = (self.unread + data).split(b"\n")
            for line in lines:
                self._take(line)
            # Of a bar that another program draws, only the last state is kept.
            last = self.unread.rstrip(b"\r").rfind(b"\r")
            self.unread = self.unread[last + 1 :]
            if len(self.unread) > READ_SIZE:
                self._take(self.unread)
                self.unread = b""

    def _take(self, line: bytes) -> None:
        """Take a line from the pipe: a message, plain text, or the one after the other."""
        before, start, message = line.partition(terminal_messages.START)
        if before:
            # Of a bar that another program draws, the last state.
            text = before.decode(errors="replace").rstrip("\r").rpartition("\r")[2]
            if len(self.running) == 1:
                self.blocks.add(next(iter(self.running.values())), text)
            else:
                self.blocks.show([text])
        decoded = terminal_messages.decode(message) if start else None
        if decoded is None:
            return
        log, content = decoded
        stage = next((stage for stage in self.running.values() if stage.log == log), None)
        if isinstance(content, Line):
            if stage is None:
                self.blocks.show([content.text])
            else:
                self.blocks.add(stage, content.text, content.is_warning)
        elif stage is not None:
            stage.counts[content.number] = content
            if content.is_over:
                del stage.counts[content.number]

    def _is_in_background(self) -> bool:
        try:
            return os.tcgetpgrp(self.terminal) != os.getpgrp()
        except OSError:  # not the controlling terminal
            return False

    def _size(self) -> tuple[int, int]:
        width, height = os.get_terminal_size(self.terminal)
        return width or 80, height or 24

    def _draw(self, rows: list[Text] | None) -> None:
        """Write the lines that are ready, and rows below them: by default, all of them."""
        if self.problem is not None:
            return  # but the pipe is read on, so that no job waits
        try:
            self._write()
            if self.unwritten:
                return
            width, height = self._size()
            if width != self.last_width and rows is None:
                # A window is dragged: wait for its final width.
                self.last_width = width
                return
            if rows is None:
                rows = [] if self._is_in_background() else self.rows(width, height)
            if not self.blocks.ready and rows == self.drawn:
                return
            self.console.width = self.blocks.width = width
            with self.console.capture() as captured:
                for line in [*self.blocks.ready, *rows]:
                    self.console.print(line, soft_wrap=True)
            text = self._erase(width) + captured.get()
            self.blocks.ready.clear()
            self.drawn, self.drawn_width, self.last_width = rows, width, width
            self._write(text)
        except Exception as problem:
            self.problem = problem

    def _write(self, text: str = "") -> None:
        """Write what the terminal takes: nothing after Ctrl-S, or if its connection hangs.

        So that the run goes on, this never waits, except at the end.
        """
        self.unwritten += text.encode(self.encoding, errors="backslashreplace")
        with contextlib.suppress(BlockingIOError):
            while self.unwritten:
                self.unwritten = self.unwritten[os.write(self.terminal, self.unwritten) :]

    def _erase(self, width: int) -> str:
        """Return what erases the rows that are drawn, from the line below them."""
        lines = len(self.drawn)
        if width < self.drawn_width and reflows(os.environ):
            lines = sum(max(1, -(-row.cell_len // width)) for row in self.drawn)
        # Line by line: tmux keeps a screen that is erased from its first line in its history.
        return "\r\x1b[2K" + lines * "\x1b[A\x1b[2K"

    def rows(self, width: int, height: int) -> list[Text]:
        """Return a row for each running stage, and one for all stages."""
        stages = list(self.running.values())
        shown = stages[: max(height - 6, 1)]
        name_width = max([self.blocks.name_width, *(len(stage.name) for stage in shown)]) + 2
        rows = []
        for stage in shown:
            row = Text.assemble((f"  {stage.name:<{name_width}}", "bold"))
            rows.append(row.append_text(self._cells(stage, width, width - 1 - row.cell_len)))
        if len(shown) < len(stages):
            rows.append(Text(f"  and {len(stages) - len(shown)} more"))
        total = Text.assemble(
            f"  {'':<{name_width}}",
            self._bar(self.finished, self.stages, width),
            f"  {self.finished} of {self.stages} stages",
            (f"  {clock(time.monotonic() - self.begun)}", "dim"),
        )
        for row in (*rows, total):
            row.truncate(width - 1, overflow="ellipsis")
        return [Text(), *rows, total]

    def _cells(self, stage: Stage, width: int, room: int) -> Text:
        """Return what stands behind a stage's name: its newest loop, or its text and time."""
        if not stage.counts:
            end = f"  {clock(time.monotonic() - stage.begun)}"
            if stage.submitted_as:
                end = f"  job {printable(stage.submitted_as)}{end}"
            text = shortened(printable(stage.text), room - cell_len(end))
            return Text.assemble(text, (end, "dim"))
        (*_, count) = stage.counts.values()
        in_bytes = count.unit == "bytes"
        amount, unit = (decimal, "") if in_bytes else ("{:,}".format, f" {count.unit}")
        done = count.initial + count.done
        rate = count.done / count.seconds if count.seconds else 0.0
        speed = f"{amount(int(rate))}/s"
        figures = printable(count.figures or count.description)
        if count.total is None:
            return Text("  ".join([f"{amount(done)}{unit}", speed, figures]))
        left = f"{clock(max(count.total - done, 0) / rate)} left" if rate else ""
        if width >= WIDTH_WITH_COUNTS:
            words = [f"{amount(done)} of {amount(count.total)}{unit}", speed, left, figures]
        else:
            words = [f"{done / max(count.total, 1):4.0%}", left, figures]
        return Text("  ").join([self._bar(done, count.total, width), *map(Text, words)])

    def _bar(self, done: int, total: int, width: int) -> Text:
        bar = ProgressBar(
            total=max(total, 1),
            completed=done,
            width=20 if width >= WIDTH_WITH_COUNTS else 12,
            complete_style="green",
            finished_style="green",
        )
        bar_width = bar.width or 0
        parts = [(part.text, part.style or "") for part in self.console.render(bar)]
        text = Text.assemble(*parts)
        text.pad_right(bar_width - text.cell_len)
        return text


def open_terminal(fd: int) -> int:
    """Open the terminal behind a file descriptor once more, so that writing to it never waits.

    A copy would share this mode with the jobs. It is returned only if the terminal cannot be
    opened, as after `su`.
    """
    with contextlib.suppress(OSError):
        return os.open(os.ttyname(fd), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.dup(fd)


def set_names(stages: list[Stage]) -> None:
    """Give all stages of a rule names by which they can be told apart."""
    keys = dict.fromkeys(key for stage in stages for key in stage.wildcards)
    varied = [key for key in keys if len({stage.wildcards.get(key) for stage in stages}) > 1]
    for stage in stages:
        words = [f"{key} {stage.wildcards[key]}" for key in varied if key in stage.wildcards]
        stage.name = printable(" ".join([stage.rule, *words]))


def reflows(environment: Mapping[str, str]) -> bool:
    """Return whether a terminal that becomes narrower wraps its lines, rather than cut them."""
    is_old = environment.get("TERM", "").startswith(("linux", "screen."))
    return not (is_old or "XTERM_VERSION" in environment or "STY" in environment)


def shortened(text: str, width: int) -> str:
    """Return a text that takes at most `width` columns, cut near its end, where the details are."""
    if cell_len(text) <= width or width < 2 * END_KEPT:
        return text
    return f"{set_cell_size(text, width - END_KEPT - 1).rstrip()}…{text[-END_KEPT:]}"


def clock(seconds: float) -> str:
    """Return a time such as 0:07, 12:34 or 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def printable(text: str) -> str:
    """Return text in which no character steers the terminal."""
    # Terminals differ in the width of joined characters.
    return escaped(text.expandtabs(), harmless="")
