"""The closing lines of jobs' logs."""

import os
from pathlib import Path

from imagepipe.config.closing_lines import closing_line, closing_lines


def test_only_the_closing_lines_of_this_run_are_repeated(tmp_path: Path) -> None:
    logs = {
        "failed.log": ("reading\nerror: a.csv: row 3: empty\n", 100),
        "at-start.log": ("error: b.csv: gone", 50),
        "stopped.log": ("epoch 1\nstopped by SIGTERM after epoch 1 of 9; the same command", 60),
        "older.log": ("error: of the last run\n", 49),
        "fine.log": ("error: 0 of 10 in training\ndone\n", 100),
        "empty.log": ("", 100),
        "crash.log": ("Traceback\nValueError: error: x\n", 100),
    }
    for name, (text, time) in logs.items():
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (time, time))
    found = closing_lines([tmp_path / name for name in logs], since=50)
    assert found == [
        "error: b.csv: gone",
        "error: a.csv: row 3: empty",
        "stopped by SIGTERM after epoch 1 of 9; the same command",
    ]


def test_log_that_is_not_there_has_no_closing_line(tmp_path: Path) -> None:
    assert closing_line(tmp_path / "train.log") is None
    assert closing_lines([tmp_path / "train.log"]) == []
