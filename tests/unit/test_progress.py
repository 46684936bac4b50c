"""Progress: a bar on a terminal, and a line every ten seconds for the log."""

import io
import logging
import re
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from imagepipe import progress as progress_module
from imagepipe import terminal_messages
from imagepipe.progress import counter, is_progress_line, progress
from imagepipe.terminal_messages import Count, Message


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the progress lines, in a process without a terminal."""
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    monkeypatch.setattr("sys.stderr", io.StringIO())
    return clock


def ticking(clock: Clock, items: int, seconds: float) -> Iterator[int]:
    for item in range(items):
        clock.now += seconds
        yield item


def test_off_a_terminal_a_line_is_logged_every_ten_seconds(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        items = ticking(clock, 3000, 0.01)
        passed = list(progress(items, total=3000, description="unpack", unit="images"))
    assert passed == list(range(3000))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) in (2, 3)
    done = []
    for line in lines:
        match = re.fullmatch(r"unpack: ([\d,]+) of 3,000 images, 100/s, 00:\d\d left", line)
        assert match, line
        done.append(int(match[1].replace(",", "")))
    assert done[:2] == pytest.approx([1000, 2000], abs=2)


def test_a_loop_of_less_than_ten_seconds_logs_nothing(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        list(progress(ticking(clock, 9, 1.0), total=9, description="unpack", unit="images"))
    assert not caplog.records


def test_what_is_done_is_counted_where_the_total_is_not_known(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO),
        counter(total=None, description="download", unit="bytes") as bar,
    ):
        bar.advance(500)
        clock.now += 20
        bar.advance(1500)
    assert [record.getMessage() for record in caplog.records] == ["download: 2,000 bytes, 100/s"]


def test_items_are_passed_through_one_by_one(clock: Clock) -> None:
    pulled = []
    items = progress(
        (pulled.append(item) or item for item in "abc"), total=3, description="", unit=""
    )
    assert next(items) == "a"
    assert pulled == ["a"]


class Terminal(io.StringIO):
    """Takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_the_log_its_lines(
    clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with caplog.at_level(logging.INFO):
        items = ticking(clock, 3, 20.0)
        passed = list(progress(items, total=3, description="unpack", unit="images"))
    assert passed == [0, 1, 2]
    assert "unpack" in terminal.getvalue()
    assert "/3" in terminal.getvalue()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert all(map(is_progress_line, lines))


def test_a_terminal_without_cursor_gets_lines(
    clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")
    with caplog.at_level(logging.INFO):
        list(progress(ticking(clock, 3, 20.0), total=3, description="unpack", unit="images"))
    assert terminal.getvalue() == ""
    assert len(caplog.records) == 3


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """The messages to a process that draws the terminal."""
    sent: list[Message] = []
    monkeypatch.setattr(terminal_messages, "is_open", lambda: True)
    monkeypatch.setattr(terminal_messages, "send", lambda message, wait: sent.append(message))
    return sent


def test_who_draws_the_terminal_is_told_five_times_a_second_and_at_the_end(
    clock: Clock, caplog: pytest.LogCaptureFixture, sent: list[Message]
) -> None:
    with caplog.at_level(logging.INFO):
        counting = counter(total=3000, description="train", unit="images", initial=1000)
        with counting as bar:
            bar.show("loss 1.2")
            for _ in ticking(clock, 2000, 0.01):
                bar.advance(1)
    assert len(sent) == pytest.approx(20 * 5, abs=10)
    first, *_, last = sent
    # A loop that is over at once would only flicker.
    assert isinstance(first, Count)
    assert first.seconds == pytest.approx(0.5, abs=0.05)
    assert isinstance(last, Count)
    assert last == Count(
        first.number, "train", "images", 3000, 1000, 2000, last.seconds, "loss 1.2", is_over=True
    )
    assert last.seconds == pytest.approx(20)
    assert len(caplog.records) in (1, 2)


def test_of_a_short_loop_nobody_is_told(clock: Clock, sent: list[Message]) -> None:
    list(progress(ticking(clock, 4, 0.1), total=4, description="unpack", unit="images"))
    assert sent == []


def test_a_loop_that_fails_is_over(clock: Clock, sent: list[Message]) -> None:
    with pytest.raises(KeyError), counter(total=3, description="a", unit="images") as bar:
        clock.now += 1
        bar.advance(1)
        raise KeyError
    assert [message.is_over for message in sent if isinstance(message, Count)] == [False, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: 3,000 of 5,000 images, 100/s, 00:20 left, epoch 2 of 2, loss 1.234", True),
        ("download train.7z: 2,000 bytes, 1,100/s", True),
        ("epoch 1/8: train loss 2.083, train acc 0.349, 501 examples/sec on cpu", False),
        ("error: labels.csv: 3 of 5 images, 7 rows", False),
    ],
)
def test_a_progress_line_is_told_from_others(text: str, expected: bool) -> None:
    assert is_progress_line(text) is expected


def test_a_line_counts_what_was_done_earlier_and_shows_figures_and_the_time_left(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO),
        counter(total=5000, initial=2000, description="train", unit="images") as bar,
    ):
        bar.show("epoch 2 of 2, loss 1.234")
        clock.now += 10
        bar.advance(1000)
    (record,) = caplog.records
    # 2,000 images are left at 100 a second, of which the earlier ones say nothing.
    line = "train: 3,000 of 5,000 images, 100/s, 00:20 left, epoch 2 of 2, loss 1.234"
    assert record.getMessage() == line


def test_a_bar_shows_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with counter(total=50, initial=20, description="train", unit="images") as bar:
        assert "20/50" in terminal.getvalue()
        bar.show("epoch 2 of 2, loss 1.234")
        bar.advance(30)
        bar.bar.refresh()  # type: ignore[attr-defined]
    assert "train:" in terminal.getvalue()
    assert "epoch 2 of 2, loss 1.234" in terminal.getvalue()
