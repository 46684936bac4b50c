"""Messages of jobs to the process that draws the terminal."""

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagepipe import terminal_messages
from imagepipe.terminal_messages import Count, Line, Message, decode, encode, is_open, send

COUNT = Count(3, "train", "images", 100, 10, 50, 2.5, "loss 1.2")


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The reading end of the pipe of a job "logs/train.log"."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    monkeypatch.setenv(terminal_messages.PIPE, str(tmp_path / "pipe"))
    monkeypatch.setenv(terminal_messages.JOB, "logs/train.log")
    monkeypatch.setattr(terminal_messages, "_pipe", None)
    yield reader
    if terminal_messages._pipe is not None:
        os.close(terminal_messages._pipe)
    with_reader = Path(f"/proc/self/fd/{reader}").exists()
    if with_reader:
        os.close(reader)


@pytest.mark.parametrize("message", [Line("epoch 1\x1b[31m 🐕 \udce4", is_warning=True), COUNT])
def test_message_arrives_with_the_job_that_sent_it(reader: int, message: Message) -> None:
    assert send(message, wait=True)
    (line,) = os.read(reader, 10_000).splitlines()
    assert decode(line) == ("logs/train.log", message)


def test_there_is_no_one_to_send_to_without_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(terminal_messages.PIPE, raising=False)
    monkeypatch.setenv(terminal_messages.JOB, "logs/train.log")
    assert not is_open()
    assert not send(COUNT, wait=True)
    # As on another machine, which has inherited the variable.
    monkeypatch.setenv(terminal_messages.PIPE, "/no/such/pipe")
    assert not send(COUNT, wait=True)


def test_a_reader_that_is_gone_is_no_error(reader: int) -> None:
    assert send(COUNT, wait=True)
    os.close(reader)
    assert not send(COUNT, wait=True)
    assert not is_open()
    assert terminal_messages.PIPE not in os.environ


def test_a_reader_that_does_not_read_holds_nothing_up(
    reader: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_messages, "SECONDS_TO_WAIT", 0.2)
    start = time.monotonic()
    for _ in range(2_000):
        assert send(COUNT, wait=False)
    assert time.monotonic() - start < 5
    start = time.monotonic()
    assert send(Line("x" * 3_000), wait=True)
    assert 0.1 < time.monotonic() - start < 5
    # What has arrived is whole.
    lines = os.read(reader, 1 << 20).splitlines()
    assert len(lines) > 100
    assert all(decode(line) is not None for line in lines)


def test_only_the_first_process_of_a_training_sends(
    reader: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert not is_open()
    monkeypatch.setenv("RANK", "0")
    assert is_open()


@pytest.mark.parametrize("text", ["x" * 100_000, "🐕" * 9_000, "x" * 5_000 + "é" * 5_000])
def test_a_long_line_is_cut_to_what_a_pipe_takes_at_once(text: str) -> None:
    data = encode(Line(text), "logs/train.log")
    assert len(data) <= select.PIPE_BUF
    decoded = decode(data)
    assert decoded is not None
    assert isinstance(decoded[1], Line)
    start = decoded[1].text.removesuffix("…")
    assert text.startswith(start)
    assert len(start) > 200


@pytest.mark.parametrize(
    "data",
    [b"", b"\x1e", b"\x1e[1]", b"\x1e{}", b'\x1e{"kind":"line","job":"a","other":1}', b"\x1e\xff"],
)
def test_a_damaged_message_is_none(data: bytes) -> None:
    assert decode(data) is None
