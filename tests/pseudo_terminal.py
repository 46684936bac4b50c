"""A terminal without a window: what a program writes to it, as a user would read it."""

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import pyte

from project import environment

LONGEST_READ = 1 << 16
# What begins and ends a mode: another screen, and no cursor.
MODES = ((b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h"))


class PseudoTerminal:
    """A terminal that programs write to through `slave`, until the end of a `with` block."""

    def __init__(self, columns: int = 100, rows: int = 40) -> None:
        self.master, self.slave = os.openpty()
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.5)
        self.stream = pyte.ByteStream(self.screen)
        self.written = b""
        self.settings = termios.tcgetattr(self.slave)
        self.process: subprocess.Popen[bytes] | None = None
        self.resize(columns, rows)

    def __enter__(self) -> "PseudoTerminal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def start(
        self, command: Sequence[str], folder: Path | str, **variables: str
    ) -> "subprocess.Popen[bytes]":
        """Start a command whose terminal this is, so that Ctrl-C reaches it.

        `variables` add to its environment.
        """
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment() | {"TERM": "xterm-256color"} | variables,
            preexec_fn=lambda: os.login_tty(os.dup(self.slave)),
        )
        return self.process

    def read(self, seconds: float = 0.0) -> None:
        """Take what has been written, until nothing comes for some seconds."""
        while select.select([self.master], [], [], seconds)[0]:
            data = os.read(self.master, LONGEST_READ)
            self.written += data
            self.stream.feed(data)

    def wait_for(self, condition: Callable[[], object], seconds: float) -> None:
        """Read until a condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "\n".join(self.lines)
            self.read(0.05)

    def wait_for_words(self, *words: str, seconds: float = 60) -> str:
        """Read until all words are on the screen, on whatever lines; return it."""
        self.wait_for(lambda: all(w in " ".join(self.text.split()) for w in words), seconds)
        return self.text

    def wait_for_end(self, seconds: float = 20) -> int:
        """Read until the program has ended; return its exit code."""
        process = self.process
        assert process is not None
        self.wait_for(lambda: process.poll() is not None, seconds)
        self.read(0.1)
        return process.returncode

    @property
    def shown(self) -> list[str]:
        """The lines on the screen, to the last one that is not empty."""
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            del lines[-1]
        return lines

    @property
    def text(self) -> str:
        """The screen as text."""
        return "\n".join(self.shown)

    @property
    def lines(self) -> list[str]:
        """The lines that have scrolled away, and those on the screen."""
        columns = range(self.screen.columns)
        above = ["".join(row[x].data for x in columns) for row in self.screen.history.top]
        return [*(line.rstrip() for line in above), *self.shown]

    def is_restored(self) -> bool:
        """Return whether the terminal's settings, screen and cursor are as before the program."""
        return termios.tcgetattr(self.slave) == self.settings and all(
            self.written.rfind(begin) <= self.written.rfind(end) for begin, end in MODES
        )
