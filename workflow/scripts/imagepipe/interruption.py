"""Signals that ask a training to stop: it saves its state first."""

import ctypes
import os
import signal as signals
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

# Of prctl(2).
PR_SET_PDEATHSIG = 1

# Of SIGUSR1, Windows has none.
STOP_SIGNALS = [
    getattr(signals, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signals, name)
]


@dataclass
class StopRequest:
    """The signal that asked to stop, or None as long as none has."""

    signal: signals.Signals | None = None


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note SIGTERM, SIGINT and SIGUSR1 while the block runs, instead of dying of them at once.

    The second signal of a kind does what it did before. Python gives signals to the main thread
    alone: in another one, none is noted.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signals.getsignal(number) for number in STOP_SIGNALS}

    def note(number: int, _: FrameType | None) -> None:
        request.signal = signals.Signals(number)
        signals.signal(number, before[number])

    for number in STOP_SIGNALS:
        signals.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signals.signal(number, handler)


def die_with_parent() -> None:
    """Have the system kill this process when the one that started it ends, however it ends.

    Linux alone can. It is for processes in a session of their own, which a kill of the group that
    their parent is in does not reach.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signals.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
