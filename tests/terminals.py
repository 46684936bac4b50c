"""Programs in a terminal of this process, whose screen can be read."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyte

from project import environment


class Terminal:
    """A program in a terminal; `screen` is what a user sees, `written` all that it has written."""

    def __init__(
        self, command: Sequence[str], folder: Path, columns: int, rows: int, **variables: str
    ) -> None:
        self.emulator = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.emulator)
        self.written = b""
        self.master, self.slave = pty.openpty()
        self.set_size(columns, rows)
        self.settings = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment() | {"TERM": "xterm-256color"} | variables,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            # The terminal is the new session's, so that its Ctrl-C reaches the program.
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.emulator.resize(rows, columns)

    def read(self, seconds: float) -> None:
        """Take in what the program writes within some seconds."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                content = os.read(self.master, 1 << 16)
                self.written += content
                self.stream.feed(content)

    @property
    def screen(self) -> str:
        return "\n".join(line.rstrip() for line in self.emulator.display).rstrip()

    def wait_for(self, *words: str, seconds: float = 60) -> str:
        """Wait until all words are on the screen; return it."""
        deadline = time.monotonic() + seconds
        while not all(word in self.screen for word in words):
            assert time.monotonic() < deadline, f"{words} not on the screen:\n{self.screen}"
            self.read(0.1)
        return self.screen

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def wait(self, seconds: float = 20) -> int:
        """Return the program's exit code when it has ended."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it has not ended:\n{self.screen}"
            self.read(0.1)
        self.read(0.1)
        return self.process.returncode

    def is_restored(self) -> bool:
        """Return whether the terminal's settings, screen and cursor are as before the program."""
        modes = ((b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h"))
        return termios.tcgetattr(self.slave) == self.settings and all(
            self.written.rfind(begin) <= self.written.rfind(end) for begin, end in modes
        )


@contextmanager
def terminal(
    command: Sequence[str], folder: Path, columns: int = 100, rows: int = 40, **variables: str
) -> Iterator[Terminal]:
    """Run a program in a terminal until the block ends; `variables` add to its environment."""
    opened = Terminal(command, folder, columns, rows, **variables)
    try:
        yield opened
    finally:
        opened.process.kill()
        opened.process.wait()
        for descriptor in (opened.master, opened.slave):
            with suppress(OSError):
                os.close(descriptor)
