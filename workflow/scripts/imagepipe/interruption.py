"""Stop signals: noted, so that a program can save its state first."""

import ctypes
import os
import signal as signals
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
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
    """The stop signal, or None if there was none yet."""

    signal: signals.Signals | None = None


@contextmanager
def handled(
    numbers: Iterable[int], handler: Callable[[int, FrameType | None], object]
) -> Iterator[None]:
    """Let `handler` handle some signals within the block, which is in the main thread."""
    before = {number: signals.getsignal(number) for number in numbers}
    try:
        for number in before:
            signals.signal(number, handler)
        yield
    finally:
        for number, earlier in before.items():
            signals.signal(number, earlier)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note SIGTERM, SIGINT and SIGUSR1 within the block, instead of dying from them.

    A second signal of the same kind has its usual effect. Outside the main thread, where Python
    cannot handle signals, none is noted.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signals.getsignal(number) for number in STOP_SIGNALS}

    def note(number: int, _: FrameType | None) -> None:
        request.signal = signals.Signals(number)
        signals.signal(number, before[number])

    with handled(STOP_SIGNALS, note):
        yield request


def die_with_parent() -> None:
    """Make Linux kill this process when its parent ends, even by SIGKILL.

    This is for processes in their own session, outside the parent's process group. Other systems
    have no such call.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signals.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
