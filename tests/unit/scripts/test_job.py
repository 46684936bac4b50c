"""What a job's script says when it fails, and with which exit code."""

import contextlib
import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagepipe import terminal_messages
from imagepipe.config.closing_lines import LEFT_TO_PARENT
from imagepipe.errors import Stopped, UserError
from imagepipe.terminal_messages import Line, Message
from job import run
from stages import no_logging_yet


def failing(
    main: Callable[[SimpleNamespace], None], log: Path, outputs: tuple[Path, ...] = ()
) -> int:
    """Run a job that fails, and return its exit code."""
    snakemake = SimpleNamespace(rule="pack", log=[str(log)], output=[str(path) for path in outputs])
    with no_logging_yet(), pytest.raises(SystemExit) as ended:
        run(main, snakemake)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def working(main: Callable[[SimpleNamespace], None], log: Path) -> None:
    """Run a job that does not fail."""
    with no_logging_yet():
        run(main, SimpleNamespace(rule="pack", log=[str(log)], output=[]))


def raising(error: BaseException) -> Callable[[SimpleNamespace], None]:
    def main(snakemake: SimpleNamespace) -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("a.7z: damaged; get it again"), 1, "error: a.7z: damaged; get it again"),
        (PermissionError(errno.EACCES, "denied", "a.7z"), 1, "error: a.7z: denied"),
        (OSError("no number"), 1, "error: no number"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.npy"),
            1,
            "error: a.npy: No space left on device; make room, or set --directory to another disk",
        ),
        (
            MemoryError(),
            1,
            "error: the memory is full; close other programs, or make the batches smaller",
        ),
        (Stopped("stopped by SIGTERM after epoch 3; call again", 15), 143, "stopped by SIGTERM"),
    ],
)
def test_a_failure_is_one_line_on_the_terminal_and_in_the_log(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    line: str,
) -> None:
    assert failing(raising(error), tmp_path / "logs/pack.log") == code
    (found,) = (tmp_path / "logs/pack.log").read_text().splitlines()
    assert found.startswith(line)
    assert capsys.readouterr().err == f"[pack] {found}\n"


def test_our_own_mistake_shows_where_it_is(tmp_path: Path) -> None:
    assert failing(raising(KeyError("x")), tmp_path / "pack.log") == 1
    text = (tmp_path / "pack.log").read_text()
    assert "please report it" in text
    assert "Traceback" in text


def test_name_that_is_not_utf_8_is_told_of_all_the_same(tmp_path: Path) -> None:
    name = os.fsdecode(b"tr\xe4in.7z")
    assert failing(raising(UserError(f"{name}: damaged; get it again")), tmp_path / "log") == 1
    assert (tmp_path / "log").read_text() == r"error: tr\udce4in.7z: damaged; get it again" + "\n"


def test_outputs_make_room_for_the_log_on_a_full_disk(tmp_path: Path) -> None:
    folder, file, linked = tmp_path / "train", tmp_path / "a.npy", tmp_path / "link"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"x")
    file.write_bytes(b"x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/1.png").write_bytes(b"x")
    linked.symlink_to(tmp_path / "other")
    full = raising(OSError(errno.ENOSPC, "No space left on device"))
    assert failing(full, tmp_path / "log", (folder, file, linked, tmp_path / "none")) == 1
    assert not folder.exists()
    assert not file.exists()
    # What a link leads to is not ours.
    assert (tmp_path / "other/1.png").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_log_that_takes_no_line_is_no_error_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(raising(UserError("a.7z: damaged; get it again")), Path("/dev/full")) == 1
    assert capsys.readouterr().err == "[pack] error: a.7z: damaged; get it again\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_error_that_takes_no_line_fails_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr("sys.stderr", full)
        working(lambda _: logging.getLogger("test").info("epoch 1"), tmp_path / "log")
        with contextlib.suppress(OSError):
            full.close()
    assert (tmp_path / "log").read_text() == "epoch 1\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("tr\xe4in.7z: damaged"), "error: tr\xe4in.7z: damaged"),
        (UserError(os.fsdecode(b"tr\xe4in.7z")), r"error: tr\udce4in.7z"),
        (Stopped("stopped by SIGINT after epoch 3", 2), "stopped by SIGINT after epoch 3"),
    ],
)
def test_closing_line_is_left_to_snakemake_where_that_shows_it(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    line: str,
) -> None:
    monkeypatch.setenv(LEFT_TO_PARENT, "1")
    failing(raising(error), tmp_path / "pack.log")
    assert (tmp_path / "pack.log").read_text() == f"{line}\n"
    assert capsys.readouterr().err == ""


def test_closing_line_that_the_log_has_not_is_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LEFT_TO_PARENT, "1")
    # A log in which nothing that is written arrives, as on a full disk.
    monkeypatch.setattr("logging.FileHandler.emit", lambda *_: None)
    failing(raising(UserError("a.7z: damaged")), tmp_path / "pack.log")
    assert capsys.readouterr().err == "[pack] error: a.7z: damaged\n"


PROGRESS = "train: 3,000 of 5,000 images, 100/s, 00:20 left"


def log_some(snakemake: SimpleNamespace) -> None:
    logging.getLogger("a").info("a line")
    logging.getLogger("a").warning("a warning\nof two lines")
    logging.getLogger("imagepipe.progress").info(PROGRESS)
    # As the processes of a training do, through their first one's output.
    logging.getLogger("imagepipe.launch.launching").info(PROGRESS)


def test_lines_go_to_the_process_that_draws_the_terminal_and_all_to_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Message] = []
    monkeypatch.setattr(terminal_messages, "is_open", lambda: True)
    monkeypatch.setattr(
        terminal_messages, "send", lambda message, wait: sent.append(message) or True
    )
    working(log_some, tmp_path / "pack.log")
    assert sent == [
        Line("a line"),
        Line("a warning", is_warning=True),
        Line("of two lines", is_warning=True),
    ]
    assert capsys.readouterr().err == ""
    lines = (tmp_path / "pack.log").read_text().splitlines()
    assert lines == ["a line", "a warning", "of two lines", PROGRESS, PROGRESS]
    assert os.environ[terminal_messages.JOB] == str(tmp_path / "pack.log")


def test_progress_beside_a_bar_is_only_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = "[pack] a line\n[pack] a warning\nof two lines\n"
    monkeypatch.setattr("imagepipe.progress.draws_bars", lambda: True)
    working(log_some, tmp_path / "pack.log")
    # The processes of a training draw none.
    assert capsys.readouterr().err == f"{expected}[pack] {PROGRESS}\n"
    assert (tmp_path / "pack.log").read_text().count(PROGRESS) == 2

    monkeypatch.setattr("imagepipe.progress.draws_bars", lambda: False)
    working(log_some, tmp_path / "pack.log")
    assert capsys.readouterr().err == f"{expected}[pack] {PROGRESS}\n[pack] {PROGRESS}\n"


def test_a_job_goes_on_when_nobody_reads_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as broken:
        monkeypatch.setattr("sys.stderr", broken)
        working(log_some, tmp_path / "pack.log")
        with pytest.raises(BrokenPipeError):
            broken.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)
    assert (tmp_path / "pack.log").read_text().startswith("a line\n")
