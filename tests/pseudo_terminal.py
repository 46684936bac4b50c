"""A terminal without a window: what a program writes to it, as a user would read it."""

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from types import TracebackType

import pyte

LONGEST_READ = 1 << 16


class PseudoTerminal:
    """A terminal that programs write to through `slave`."""

    def __init__(self, columns: int = 100, rows: int = 40) -> None:
        self.master, self.slave = os.openpty()
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.5)
        self.stream = pyte.ByteStream(self.screen)
        self.written = b""
        self.resize(columns, rows)

    def __enter__(self) -> "PseudoTerminal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self.master)
        os.close(self.slave)

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def start(
        self, command: list[str], folder: str, environment: dict[str, str]
    ) -> "subprocess.Popen[bytes]":
        """Start a command whose terminal this is, so that Ctrl-C reaches it."""
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            preexec_fn=lambda: os.login_tty(os.dup(self.slave)),
        )

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

    @property
    def shown(self) -> list[str]:
        """The lines on the screen, to the last one that is not empty."""
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            del lines[-1]
        return lines

    @property
    def lines(self) -> list[str]:
        """The lines that have scrolled away, and those on the screen."""
        columns = range(self.screen.columns)
        above = ["".join(row[x].data for x in columns) for row in self.screen.history.top]
        return [*(line.rstrip() for line in above), *self.shown]
