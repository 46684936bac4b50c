"""`imagepipe watch` in a terminal, and where there is none."""

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

import watch_builders
from imagepipe.training.history import epoch_line, write_history
from project import environment
from pseudo_terminal import PseudoTerminal
from snapshots import snapshot
from watch_builders import FAILURE, STOP, WATCH, WorkingDirectory, all_states, epochs_of


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the made files be of this moment."""
    monkeypatch.setattr(watch_builders, "NOW", time.time())


def printed(folder: Path, *arguments: str, **variables: str) -> str:
    """Return what `imagepipe watch` prints where the output is no terminal."""
    done = subprocess.run(
        [*WATCH, str(folder), *arguments],
        env=environment() | variables,
        capture_output=True,
        check=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("arguments", [(), ("--once",)])
def test_without_a_terminal_one_picture_is_printed_as_plain_text(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    all_states(tmp_path)
    # As where a CI asks all programs for colors.
    text = printed(tmp_path, *arguments, FORCE_COLOR="1")
    assert all(character.isprintable() or character == "\n" for character in text)
    lines = text.splitlines()
    assert "1 running, 1 starting, 1 failed, 1 stopped, 1 stale, 2 finished" in lines[0]
    assert lines[1].split()[:6] == ["state", "dataset", "run", "seed", "training", "epochs"]
    assert lines[1].endswith("device")
    assert re.match(r"▶ running +sample +fast +0 +train +5.4/8 ", lines[2])
    assert lines[2].endswith("cpu fp32")
    assert f"sample, small, seed 0, train: {FAILURE}" in lines
    assert f"sample, small, seed 1, train: {STOP}" in lines
    assert any(line.endswith("for 1 h 0 min: it may have been killed") for line in lines)
    assert "sample, fast, seed 0, train: epoch 6 of 8, 40 % done" in text
    assert "train 0.849" in text
    assert "valid 0.741" in text


def test_a_terminal_without_utf8_or_with_no_abilities_gets_a_picture_too(tmp_path: Path) -> None:
    all_states(tmp_path)
    assert "? running" in printed(tmp_path, PYTHONIOENCODING="ascii")
    with PseudoTerminal(170, 60) as opened:
        opened.start([*WATCH, str(tmp_path)], tmp_path, TERM="dumb")
        assert opened.wait_for_end() == 0
        assert b"\x1b" not in opened.written
        assert "▶ running" in opened.text


def test_before_anything_runs_it_says_so(tmp_path: Path) -> None:
    assert "no trainings yet" in printed(tmp_path)


def test_it_follows_a_training_to_its_end(tmp_path: Path) -> None:
    made = WorkingDirectory(tmp_path)
    epochs = epochs_of(8)
    with PseudoTerminal() as opened:
        opened.start([*WATCH, str(tmp_path)], tmp_path)
        opened.wait_for_words("no trainings yet", "q ends")
        results = made.add(log=[])
        opened.wait_for_words("▶ running", "its curves begin after the first epoch")
        log = made.log(Path("sample/fast/seed0"), "train")
        for count in (1, 2, 3):
            write_history(results / "history.csv", epochs[:count])
            with log.open("a") as file:
                file.write(f"{epoch_line(epochs[count - 1], 8)}\n")
        opened.wait_for_words("3/8", "epoch 4 of 8", "loss", "accuracy", "train 0.706", "8 epochs")
        write_history(results / "history.csv", epochs)
        (results / "metrics.json").write_text("{}")
        opened.wait_for_words("✓ finished", "8/8", "1 finished", "valid 0.862")
        assert "running" not in opened.text
        opened.type(b"q")
        assert opened.wait_for_end() == 0
        assert opened.is_restored()
        # The last table stays.
        after = opened.written.rpartition(b"\x1b[?1049l")[2].decode()
        assert "✓ finished" in after


def press_q(opened: PseudoTerminal) -> None:
    opened.type(b"xq")


def press_ctrl_c(opened: PseudoTerminal) -> None:
    opened.type(b"\x03")


def send_sigterm(opened: PseudoTerminal) -> None:
    opened.process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("end", "code"), [(press_q, 0), (press_ctrl_c, 0), (send_sigterm, 128 + signal.SIGTERM)]
)
def test_however_it_ends_the_terminal_is_as_before(
    tmp_path: Path, end: "type[press_q]", code: int
) -> None:
    all_states(tmp_path)
    before = snapshot(tmp_path)
    with PseudoTerminal() as opened:
        opened.start([*WATCH, str(tmp_path)], tmp_path)
        opened.wait_for_words("▶ running")
        assert not opened.is_restored()
        start = time.monotonic()
        end(opened)
        assert opened.wait_for_end() == code
        assert time.monotonic() - start < 10
        assert opened.is_restored()
        assert "Traceback" not in opened.text
    assert snapshot(tmp_path) == before


def test_ctrl_z_does_not_leave_it_behind(tmp_path: Path) -> None:
    with PseudoTerminal() as opened:
        opened.start([*WATCH, str(tmp_path)], tmp_path)
        opened.wait_for_words("no trainings yet")
        opened.type(b"\x1a")
        all_states(tmp_path)
        opened.wait_for_words("▶ running")
        opened.type(b"q")
        assert opened.wait_for_end() == 0


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (30, 12), (1, 1)])
def test_it_fits_terminals_of_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    made = all_states(tmp_path)
    for number in range(30):
        made.add(f"{'x' * 80}{number}", epochs=epochs_of(8), log=[], has_metrics=True, silent=99)
    with PseudoTerminal(*size) as opened:
        opened.start([*WATCH, str(tmp_path)], tmp_path)
        drawn = time.monotonic() + 2.5
        opened.wait_for(lambda: time.monotonic() > drawn, 10)
        assert opened.process.poll() is None, opened.text
        if size >= (80, 24):
            for words in ("▶ running", "more, which --once shows", "train 0.849", "valid 0.741"):
                assert words in opened.text
        opened.resize(100, 40)
        opened.wait_for_words("▶ running", "valid 0.741", "q ends")
        opened.type(b"q")
        assert opened.wait_for_end() == 0


def test_names_and_messages_from_outside_are_shown_as_they_are(tmp_path: Path) -> None:
    made = WorkingDirectory(tmp_path)
    made.add("[red]a\x1b[2Jb\u202e", epochs=epochs_of(2), log=["error: [bold]\x1b]0;x\x07 bad[/]"])
    text = printed(tmp_path)
    assert "[red]a\\x1b[2Jb\\u202e" in text
    assert "error: [bold]\\x1b]0;x\\x07 bad[/]" in text
    with PseudoTerminal(150, 40) as opened:
        opened.start([*WATCH, str(tmp_path)], tmp_path)
        opened.wait_for_words("[red]a\\x1b[2Jb\\u202e", "error: [bold]\\x1b]0;x\\x07 bad[/]")
