"""Signals that ask to stop are noted, and what they did before comes back."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from imagepipe.interruption import STOP_SIGNALS, stop_requests


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_is_noted_instead_of_ending_the_process(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in STOP_SIGNALS]
    with stop_requests() as request:
        assert request.signal is None
        os.kill(os.getpid(), number)
        assert request.signal == number
    assert [signal.getsignal(each) for each in STOP_SIGNALS] == before


@pytest.fixture
def ctrl_c_as_on_a_terminal() -> Iterator[None]:
    """A shell lets what it starts in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_as_on_a_terminal")
def test_the_second_ctrl_c_is_not_held_back() -> None:
    with stop_requests() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_another_thread_than_the_main_one_gets_no_signals_and_no_error() -> None:
    noted = []

    def work() -> None:
        with stop_requests() as request:
            noted.append(request.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert noted == [None]
