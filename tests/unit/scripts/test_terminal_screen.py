"""What a terminal shows of a run."""

import io
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import terminal_screen
from builders import SCRIPTS
from imagepipe import terminal_messages
from imagepipe.terminal_messages import Count, Line, Message, encode
from pseudo_terminal import PseudoTerminal
from terminal_screen import Screen, clock, printable, reflows, shortened

RULES = ("pack", "train", "retrain")
TRAIN = "Train fast, seed 0, and validate it"


class Run:
    """A screen on a pseudo terminal."""

    def __init__(self, terminal: PseudoTerminal) -> None:
        self.terminal = terminal
        # A copy, which the screen does not replace.
        self.stream = io.open(os.dup(terminal.slave), "w", encoding="utf-8")  # noqa: UP020, SIM115
        self.screen = Screen(self.stream, 12, RULES)
        self.pipe = os.open(os.environ[terminal_messages.PIPE], os.O_WRONLY)

    def begin(self, number: int, rule: str, text: str, **wildcards: str) -> None:
        self.screen.begin(number, rule, text, wildcards, f"logs/{number}.log")

    def send(self, number: int, message: Message) -> None:
        os.write(self.pipe, encode(message, f"logs/{number}.log"))

    def wait_for(self, pattern: str) -> str:
        """Return the first line on the terminal that matches a pattern, once there is one."""
        self.terminal.wait_for(lambda: self.find(pattern), 10)
        return self.find(pattern)[0]

    def find(self, pattern: str) -> list[str]:
        return [line for line in self.terminal.lines if re.search(pattern, line)]

    def close(self) -> list[str]:
        """Close the screen, and return all lines on the terminal."""
        if not self.screen.is_closed:
            # It waits until the terminal has taken everything.
            closing = threading.Thread(target=self.screen.close, daemon=True)
            closing.start()
            self.terminal.wait_for(lambda: not closing.is_alive(), 10)
            os.close(self.pipe)
            self.stream.close()
        self.terminal.read(0.1)
        return self.terminal.lines


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    for name in ("NO_COLOR", "STY", "XTERM_VERSION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv(terminal_messages.PIPE, "of before")
    monkeypatch.setattr(terminal_screen, "SECONDS_HELD", 0.5)
    with PseudoTerminal(100, 20) as terminal:
        run = Run(terminal)
        yield run
        run.close()


def count(done: int, number: int = 0, **more: object) -> Count:
    values = {
        "number": number,
        "description": "train",
        "unit": "images",
        "total": 1000,
        "initial": 0,
        "done": done,
        "seconds": 2.0,
        "figures": "epoch 1 of 8, loss 2.300",
    }
    return Count(**(values | more))  # type: ignore[arg-type]


def test_a_stage_is_one_line_with_its_time(run: Run) -> None:
    run.begin(1, "pack", "Decode every image once")
    run.wait_for("Decode every image once  0:0")
    run.screen.end(1, "done")
    (line,) = run.close()
    assert re.fullmatch(r"✓ pack     Decode every image once {20,}\d\.\d s", line)


def test_lines_of_a_short_stage_are_below_it(run: Run) -> None:
    run.begin(1, "pack", "Decode every image once")
    run.send(1, Line("two images are bad", is_warning=True))
    run.screen.end(1, "done")
    heading, line = run.close()
    assert heading.startswith("✓ pack ")
    assert line == "    two images are bad"


def test_lines_of_a_long_stage_are_a_block_as_they_come(run: Run) -> None:
    run.begin(1, "train", TRAIN)
    for epoch in (1, 2):
        run.send(1, Line(f"epoch {epoch}"))
        run.wait_for(f"^    epoch {epoch}")
    run.screen.end(1, "done")
    heading, *epochs, end = run.close()
    assert heading == f"▸ train    {TRAIN}"
    assert epochs == ["    epoch 1", "    epoch 2"]
    assert end.startswith(f"✓ train    {TRAIN}  ")


def test_lines_of_stages_at_once_name_their_stage(run: Run) -> None:
    run.begin(1, "train", "Train a", seed="0")
    run.begin(2, "retrain", "Train b", seed="0")
    run.begin(3, "retrain", "Train c", seed="1")
    for number, line in ((1, "a1"), (2, "b1"), (3, "c1")):
        run.send(number, Line(line))
    run.wait_for("c1")
    for number, line in ((1, "a2"), (3, "c2"), (3, "c3")):
        run.send(number, Line(line))
    run.wait_for("c3")
    run.screen.end(1, "done")
    run.send(2, Line("b2"))
    run.screen.end(2, "failed")
    lines = [line[:31].rstrip() for line in run.close()]
    assert lines == [
        *("▸ train    Train a", "    a1"),
        *("▸ retrain  Train b", "    b1"),
        *("▸ retrain  Train c", "    c1"),
        *("  train    a2", "  retrain seed 1  c2", "  retrain seed 1  c3"),
        "✓ train    Train a",
        *("  retrain seed 0  b2", "✗ retrain  Train b"),
    ]


def test_rows_of_one_rule_are_told_apart(run: Run) -> None:
    run.begin(1, "train", "a", run="fast", seed="0")
    run.begin(3, "pack", "c")
    run.begin(2, "train", "b", run="fast", seed="1")
    run.wait_for("train seed 1  b  0:0")
    rows = [line.split("  ")[1] for line in run.terminal.shown if "  0:0" in line]
    assert rows[:3] == ["train seed 0", "pack", "train seed 1"]
    # Also after the other one has ended.
    run.screen.end(1, "done")
    run.wait_for("✓ train")
    assert run.find("train seed 1")


def test_a_row_shows_how_far_a_loop_is_and_when_it_ends(run: Run) -> None:
    run.begin(1, "train", TRAIN)
    run.send(1, count(250))
    # 250 images took 2 seconds.
    row = run.wait_for("25%")
    assert re.fullmatch(
        r"  train    [━╸╺]{12}   25%  0:06 left  epoch 1 of 8, loss 2\.300",
        row.replace("\xa0", " "),
    )
    assert run.find(r"^ +━{12}  0 of 12 stages  0:0\d$")
    # A loop within it, until that is over.
    run.send(1, count(3, 1, total=10, description="predict", unit="batches", figures=""))
    run.wait_for(r"30%  0:05 left  predict$")
    run.send(1, count(10, 1, is_over=True))
    run.wait_for("25%")
    run.send(1, count(1000, is_over=True))
    run.wait_for(f"{TRAIN}  0:0")


def test_a_wide_terminal_has_room_for_counts(run: Run) -> None:
    run.terminal.resize(140, 20)
    run.begin(1, "train", TRAIN)
    run.send(1, count(250, initial=250))
    # What was done before says nothing of the speed.
    run.wait_for(r"  500 of 1,000 images  125/s  0:04 left  epoch 1 of 8, loss 2\.300$")
    run.send(1, count(5_000_000, total=20_000_000, unit="bytes", description="download"))
    run.wait_for(r"5\.0 MB of 20\.0 MB  2\.5 MB/s  0:06 left")
    run.send(1, count(5_000, total=None, unit="bytes", description="download", figures=""))
    run.wait_for(r"^  train    5\.0 kB  2\.5 kB/s  download$")


def test_bars_never_tear(run: Run) -> None:
    run.begin(1, "train", "Train a")
    run.begin(2, "retrain", "Train b")
    for step in range(1, 60):
        for number in (1, 2):
            run.send(number, count(step * 10))
            if step % 10 == 0:
                run.send(number, Line(f"epoch {step} of job {number}"))
        time.sleep(0.02)
        run.terminal.read()
        rows = run.terminal.shown[-3:]
        if len(run.terminal.shown) > 3:
            assert re.match(r"  train    [━╸╺ ]{12}", rows[0])
            assert re.match(r"  retrain  [━╸╺ ]{12}", rows[1])
            assert "0 of 12 stages" in rows[2]
    lines = run.close()
    assert not [line for line in lines if "━" in line or "stages" in line]
    assert sum("epoch" in line for line in lines) == 10


def test_no_erased_row_goes_into_the_history_of_a_terminal(run: Run) -> None:
    """As tmux keeps what is erased from the first line to the end of the screen."""
    run.begin(1, "train", TRAIN)
    run.send(1, count(250))
    run.wait_for("25%")
    run.send(1, count(500))
    run.wait_for("50%")
    assert b"\x1b[J" not in run.terminal.written
    assert b"\x1b[2J" not in run.terminal.written


def test_what_other_programs_write_does_not_tear_the_rows(run: Run) -> None:
    run.begin(1, "train", TRAIN)
    run.send(1, count(250))
    # A line of a shell, a bar without a newline before a message, and half a line at the end.
    os.write(run.pipe, b"bash: line 1: 17 Killed\n")
    os.write(run.pipe, b"\r 10%|#   |\r 20%|##  |")
    run.send(1, Line("epoch 1"))
    os.write(run.pipe, b"the end\x1b[2J")
    run.wait_for("epoch 1")
    run.screen.end(1, "done")
    lines = run.close()
    assert "    bash: line 1: 17 Killed" in lines
    assert "     20%|##  |" in lines
    assert "    epoch 1" in lines
    # What would clear the terminal is only shown.
    assert r"the end\x1b[2J" in lines
    assert not [line for line in lines if "━" in line]


def test_lines_of_no_stage_are_above_the_rows(run: Run) -> None:
    run.begin(1, "train", TRAIN)
    run.wait_for("stages")
    run.screen.show(["Terminating processes", "at once"])
    run.send(7, Line("of a job that has ended"))
    run.wait_for("has ended")
    above, _, _ = "\n".join(run.terminal.lines).partition(TRAIN)
    assert "Terminating processes\nat once\nof a job that has ended\n" in above


def test_more_rows_than_the_terminal_has_are_counted(run: Run) -> None:
    for number in range(40):
        run.begin(number, "train", TRAIN, seed=str(number))
    run.wait_for("^  and 26 more$")
    assert len(run.terminal.shown) <= 19
    assert not run.terminal.screen.history.top


def test_a_job_of_a_cluster_has_its_number_there(run: Run) -> None:
    run.begin(1, "train", TRAIN)
    run.screen.note_submission([1, 7], "4711")
    run.wait_for(f"^  train    {TRAIN}  job 4711  0:0")


@pytest.mark.parametrize(("columns", "rows"), [(140, 20), (60, 20), (100, 30)])
def test_the_terminal_can_be_resized(run: Run, columns: int, rows: int) -> None:
    # As in a terminal that cuts lines.
    os.environ["XTERM_VERSION"] = "1"
    run.screen.show(["above"])
    run.begin(1, "train", TRAIN)
    run.send(1, count(250, figures="loss 1.234, " * 20))
    run.wait_for("stages")
    run.terminal.resize(columns, rows)
    run.send(1, count(500, figures="loss 1.234, " * 20))
    run.wait_for("50%" if columns < 130 else "500 of 1,000 images")
    assert len(run.find("stages")) == 1
    assert len(run.find("━")) == 2
    assert all(len(line) < columns for line in run.terminal.shown)
    assert run.close() == ["above"]


def test_a_terminal_that_wraps_lines_is_cleared_of_all_of_them(run: Run) -> None:
    run.begin(1, "train", TRAIN)
    run.send(1, count(250, figures="loss 1.234, " * 20))
    run.wait_for("stages")
    # A blank row, one of 99 columns and one of 44: in 50 columns, four lines.
    assert run.screen._erase(50).count("\x1b[A\x1b[2K") == 4
    os.environ["STY"] = "1"
    assert run.screen._erase(50).count("\x1b[A\x1b[2K") == 3


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "XTERM_VERSION": "XTerm(388)"}, False),
        ({"TERM": "linux"}, False),
        ({"TERM": "screen.xterm-256color", "STY": "1.tty"}, False),
        ({"TERM": "screen-256color", "TMUX": "/tmp/tmux"}, True),
    ],
)
def test_which_terminals_wrap_lines(environment: dict[str, str], expected: bool) -> None:
    assert reflows(environment) is expected


def test_colors_are_left_out_on_request(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    run.begin(1, "pack", "Decode")
    run.screen.end(1, "done")
    run.close()
    assert b"\x1b[32m" in run.terminal.written
    monkeypatch.setenv("NO_COLOR", "1")
    with PseudoTerminal() as terminal:
        other = Run(terminal)
        other.begin(1, "pack", "Decode")
        other.screen.end(1, "done")
        other.close()
        assert b"\x1b[32m" not in terminal.written


def test_a_terminal_without_unicode_gets_ascii(run: Run) -> None:
    with (
        PseudoTerminal() as terminal,
        os.fdopen(os.dup(terminal.slave), "w", encoding="ascii") as s,
    ):
        screen = Screen(s, 2, RULES)
        screen.begin(1, "pack", "Decode Möwen", {}, "logs/1.log")
        terminal.wait_for(lambda: "stages" in "".join(terminal.lines), 10)
        screen.end(1, "done")
        screen.begin(2, "train", "Train", {}, "logs/2.log")
        screen.end(2, "failed")
        screen.close()
        terminal.read(0.1)
        assert terminal.written.isascii()
        assert [line.split()[:2] for line in terminal.lines] == [["+", "pack"], ["x", "train"]]


def test_nothing_is_left_of_the_pipe(run: Run) -> None:
    folder = run.screen.folder
    assert folder.stat().st_mode & 0o777 == 0o700
    run.close()
    assert not folder.exists()
    assert terminal_messages.PIPE not in os.environ
    # Once more is no error.
    run.screen.close()


def test_a_failure_to_draw_loses_no_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a mistake")

    monkeypatch.setattr(run.screen, "rows", fail)
    run.begin(1, "train", TRAIN)
    time.sleep(0.5)
    for done in range(1_000):  # more than a pipe holds: nobody waits
        run.send(1, count(done))
    run.send(1, Line("epoch 1"))
    run.screen.end(1, "done")
    lines = run.close()
    assert lines[0].startswith("✓ train")
    assert lines[1] == "    epoch 1"
    assert "a mistake" in lines[2]


def test_a_terminal_that_takes_nothing_holds_up_no_job(run: Run) -> None:
    """As after Ctrl-S, or while a connection hangs."""
    run.begin(1, "train", TRAIN)
    run.begin(2, "pack", "Decode")
    lines = [f"epoch {number} {'x' * 200}" for number in range(2_000)]
    start = time.monotonic()
    for line in lines:
        run.send(1, Line(line))
    run.screen.end(1, "done")
    run.screen.end(2, "done")
    # One fifth of it fills the terminal.
    time.sleep(2 * terminal_screen.SECONDS_BETWEEN_DRAWS)
    run.screen.show(["the last"])
    assert time.monotonic() - start < 5
    assert run.screen.problem is None
    # Nothing is lost.
    run.wait_for("^the last$")
    shown = "".join(run.close())
    assert all(line in shown for line in lines)


def test_a_terminal_that_cannot_be_opened_is_drawn_on_too(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `su`, when it belongs to another user."""

    def refuse(fd: int) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "ttyname", refuse)
    with PseudoTerminal() as terminal:
        other = Run(terminal)
        assert os.get_blocking(other.screen.terminal)
        other.begin(1, "pack", "Decode")
        other.wait_for("stages")
        other.screen.end(1, "done")
        assert other.close()[0].startswith("✓ pack ")


def test_a_screen_that_is_closed_waits_for_its_terminal(run: Run) -> None:
    lines = [f"{number} {'x' * 90}" for number in range(1_000)]
    run.screen.show(lines)
    assert run.close() == lines


def test_text_that_looks_like_a_message_does_no_harm(run: Run) -> None:
    run.begin(1, "train", TRAIN)
    for number in ("[]", '"1"', "null"):
        text = encode(count(1), "logs/1.log").replace(
            b'"number": 0', f'"number": {number}'.encode()
        )
        os.write(run.pipe, text)
    run.send(1, Line("epoch 1"))
    run.wait_for("^    epoch 1$")
    run.send(1, count(250))
    run.wait_for("25%")


def test_text_without_end_takes_no_memory(run: Run) -> None:
    run.begin(1, "train", TRAIN)
    for number in range(20_000):
        os.write(run.pipe, b"\r%6d of 20000 |%s" % (number, b"#" * 90))
    os.write(run.pipe, b"\n")
    run.wait_for("19999 of 20000")
    for _ in range(100):
        os.write(run.pipe, b"x" * 4_096)
    time.sleep(2 * terminal_screen.SECONDS_BETWEEN_DRAWS)
    kept = len(run.screen.unread)
    assert kept <= terminal_screen.READ_SIZE
    assert not [line for line in run.close() if "of 20000" in line and "19999" not in line]


def test_without_pipes_nothing_is_changed(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in some folders that are shared with another system."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "mkfifo", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(PermissionError):
        Screen(run.stream, 2, RULES)
    assert not list(tmp_path.iterdir())
    assert os.environ[terminal_messages.PIPE] == str(run.screen.folder / "terminal")


@pytest.fixture
def in_folder(tmp_path: Path) -> dict[str, str]:
    """Variables of a process that may leave its pipe."""
    return {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": ""}


OWN_PROCESS = f"""
import os, signal, subprocess, sys, time
sys.path.insert(0, {str(SCRIPTS)!r})
from terminal_screen import Screen
screen = Screen(sys.stderr, 3, ["pack"])
screen.begin(1, "pack", "Decode", {{}}, "logs/1.log")
"""


@pytest.mark.parametrize(
    ("end", "last"),
    [
        ("raise KeyError('x')", "KeyError: 'x'"),
        ("sys.exit('error: so')", "error: so"),
        ("print('to stdout', flush=True); sys.exit(1)", "to stdout"),
        ("subprocess.run(['sh', '-c', 'echo of a child >&2; exit 1'])", "of a child"),
    ],
)
def test_a_process_that_ends_in_any_way_leaves_no_rows(
    end: str, last: str, in_folder: dict[str, str]
) -> None:
    with PseudoTerminal() as terminal:
        script = f"{OWN_PROCESS}\ntime.sleep(0.5)\n{end}\n"
        process = terminal.start([sys.executable, "-c", script], "/", **in_folder)
        terminal.wait_for(lambda: process.poll() is not None, 30)
        terminal.read(0.1)
        assert terminal.lines[-1].strip() == last
        assert not [line for line in terminal.lines if "━" in line]
        assert not terminal.screen.cursor.hidden


def test_a_process_ends_although_the_pipe_is_full(in_folder: dict[str, str]) -> None:
    with PseudoTerminal() as terminal:
        script = (
            f"{OWN_PROCESS}\ntime.sleep(0.5)\n"
            "os.write(1, b'x\\n' * 32_000)\nprint('y' * 6_000 + 'z', end='')\n"
        )
        terminal.start([sys.executable, "-c", script], "/", **in_folder)
        assert terminal.wait_for_end() == 0
        assert terminal.lines[-1].endswith("yz")


@pytest.mark.parametrize("closed", [">&-", "| head -0"])
def test_a_process_without_standard_output_shows_its_stages(
    closed: str, in_folder: dict[str, str]
) -> None:
    script = f"{OWN_PROCESS}\ntime.sleep(0.5)\nprint('x')\nscreen.end(1, 'done')\nscreen.close()\n"
    command = f'"$PYTHON" -c "$SCRIPT" {closed}'
    with PseudoTerminal() as terminal:
        variables = in_folder | {"PYTHON": sys.executable, "SCRIPT": script}
        terminal.start(["sh", "-c", command], "/", **variables)
        assert terminal.wait_for_end() == 0
        assert terminal.lines[0].startswith("✓ pack ")
        assert b"Traceback" not in terminal.written


def test_after_a_sigkill_the_cursor_is_on_a_line_of_its_own(in_folder: dict[str, str]) -> None:
    with PseudoTerminal() as terminal:
        script = f"{OWN_PROCESS}\ntime.sleep(60)\n"
        process = terminal.start([sys.executable, "-c", script], "/", **in_folder)
        terminal.wait_for(lambda: "stages" in "".join(terminal.lines), 30)
        process.kill()
        process.wait()
        terminal.read(0.1)
        cursor = terminal.screen.cursor
        assert (cursor.x, cursor.y) == (0, len(terminal.shown))
        assert not cursor.hidden


def test_a_process_goes_on_after_ctrl_z_below_what_the_shell_has_written(
    in_folder: dict[str, str],
) -> None:
    shell = ["bash", "--norc", "-i"]
    with PseudoTerminal() as terminal:
        script = f"{OWN_PROCESS}\ntime.sleep(4)\n"
        process = terminal.start(shell, "/", PS1="$ ", SCRIPT=script, **in_folder)
        terminal.type(f'{sys.executable} -c "$SCRIPT"\n'.encode())
        terminal.wait_for(lambda: "of 3 stages" in "".join(terminal.lines), 30)
        terminal.type(b"\x1a")
        terminal.wait_for(lambda: "Stopped" in "".join(terminal.lines), 30)
        terminal.type(b"echo between\n")
        terminal.wait_for(lambda: "between" in terminal.lines, 30)
        time.sleep(terminal_screen.SECONDS_OF_A_STOP)
        terminal.type(b"fg\n")
        terminal.wait_for(lambda: "stages" in terminal.shown[-1], 30)
        assert "between" in terminal.lines
        terminal.wait_for(lambda: terminal.shown[-1] == "$", 30)
        # What was drawn after the stop is gone.
        assert sum("stages" in line for line in terminal.lines) == 1
        process.send_signal(signal.SIGHUP)
        process.wait()


def test_in_the_background_only_lines_are_written(in_folder: dict[str, str]) -> None:
    shell = ["bash", "--norc", "-i"]
    script = f"{OWN_PROCESS}\ntime.sleep(1)\nscreen.end(1, 'done')\ntime.sleep(0.5)\n"
    with PseudoTerminal() as terminal:
        process = terminal.start(shell, "/", PS1="$ ", SCRIPT=script, **in_folder)
        terminal.type(f'{sys.executable} -c "$SCRIPT" &\n'.encode())
        terminal.wait_for(lambda: "✓ pack" in "\n".join(terminal.lines), 30)
        assert b"stages" not in terminal.written
        process.send_signal(signal.SIGHUP)
        process.wait()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03")],
)
def test_times(seconds: float, expected: str) -> None:
    assert clock(seconds) == expected


def test_a_long_text_is_cut_before_its_end() -> None:
    text = f"Train {'fast@' * 30}, seed 0, and validate it"
    short = shortened(text, 60)
    assert len(short) == 60
    assert short.startswith("Train fast@")
    assert short.endswith("… seed 0, and validate it")
    assert shortened("Train", 60) == "Train"
    assert shortened(text, 5) == text


def test_no_character_steers_the_terminal() -> None:
    assert printable("a\tb\x1b[2J\x07 ü 🐕 \udce4") == r"a       b\x1b[2J\x07 ü 🐕 \udce4"
