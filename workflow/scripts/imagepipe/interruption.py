"""Signals that ask a program to stop, so that it can save its state first."""

import ctypes
import os
import signal as signals
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

# From linux/prctl.h.
PR_SET_PDEATHSIG = 1
# Windows has no SIGUSR1.
STOP_SIGNALS = [
    getattr(signals, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signals, name)
]


@dataclass
class StopRequest:
    """The signal that asked to stop, or None so far."""

    signal: signals.Signals | None = None


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note SIGTERM, SIGINT and SIGUSR1 within the block, instead of dying of them.

    A second signal of the same kind has its usual effect. Outside of the main thread, which alone
    receives signals in Python, none is noted.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signals.getsignal(number) for number in STOP_SIGNALS}

    def note(number: int, _: FrameType | None) -> None:
        request.signal = signals.Signals(number)
        signals.signal(number, before[number])

    try:
        for number in STOP_SIGNALS:
            signals.signal(number, note)
        yield request
    finally:
        for number, handler in before.items():
            signals.signal(number, handler)


def die_with_parent() -> None:
    """Have Linux kill this process as soon as its parent has ended, even by SIGKILL.

    It is for processes in a session of their own, which killing their parent's process group does
    not reach. Other systems cannot do it.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signals.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
