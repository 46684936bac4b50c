"""Progress: a bar on a terminal, a line every ten seconds elsewhere."""

import io
import logging
import re
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from imagepipe import progress as progress_module
from imagepipe.progress import counter, progress


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


def test_a_terminal_gets_a_bar_and_no_lines(
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
    assert not caplog.records


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
