"""The last words of a run."""

import json
import os
from pathlib import Path

import pytest

from imagepipe.summary import last_words, summary

METRICS = {
    "valid_accuracy": 0.87654,
    "epochs": 16,
    "seconds": 61.2,
    "examples_per_second": 12345.6,
    "device": "cpu",
    "precision": "fp32",
}


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def told(folder: Path, seeds: int = 1) -> list[str]:
    folders = [folder / f"fast/seed{seed}" for seed in range(seeds)]
    return summary("my birds", "fast", folder, folders, folder / "submission.csv").splitlines()


def finish(folder: Path) -> None:
    """Write what a whole run leaves, in its order."""
    write_json(folder / "fast/seed0/train/metrics.json", METRICS)
    (folder / "runs.csv").touch()
    write_json(folder / "fast/seed0/final/model.safetensors", "weights")
    write_json(folder / "score.json", {"accuracy": 0.5, "n": 10_000})
    (folder / "submission.csv").touch()


def test_what_is_left_of_an_earlier_run_is_not_mentioned(tmp_path: Path) -> None:
    finish(tmp_path)
    later = (tmp_path / "submission.csv").stat().st_mtime + 10
    os.utime(tmp_path / "fast/seed0/train/metrics.json", (later, later))
    lines = told(tmp_path)
    assert len(lines) == 2
    assert "valid accuracy" in lines[1]


def test_summary_tells_how_good_the_model_is_and_where_the_results_lie(tmp_path: Path) -> None:
    finish(tmp_path)
    first, *lines = told(tmp_path)
    assert first == "my birds, recipe fast"
    text = "\n".join(lines)
    for word in ("0.8765", "16 epochs", "1 min 1 s", "12,346 examples/sec", "cpu", "fp32"):
        assert word in lines[0]
    assert "0.5000" in lines[1]
    assert "10,000 images" in lines[1]
    for name in ("submission.csv", "runs.csv", "score.json", "fast/seed0/final/model.safetensors"):
        assert str(tmp_path / name) in text


def test_summary_of_several_members_says_that_one_was_validated_and_how_many_there_are(
    tmp_path: Path,
) -> None:
    finish(tmp_path)
    alone = "\n".join(told(tmp_path))
    assert "of one member" not in alone
    assert "more beside" not in alone
    for seed in (1, 2):
        write_json(tmp_path / f"fast/seed{seed}/final/model.safetensors", "weights")
    text = "\n".join(told(tmp_path, seeds=4))
    assert "0.8765  of one member after 16 epochs" in text
    assert "final/model.safetensors, and 2 more beside seed0\n" in text


def test_summary_names_no_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "submission.csv").touch()
    lines = told(tmp_path)
    assert len(lines) == 2
    assert lines[1].split() == ["submission", str(tmp_path / "submission.csv")]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (4.24, "4.2 s"),
        (59.0, "59.0 s"),
        (60, "1 min 0 s"),
        (3599.7, "1 h 0 min"),
        (7999, "2 h 13 min"),
    ],
)
def test_duration_is_told_in_units_that_suit_it(
    tmp_path: Path, seconds: float, expected: str
) -> None:
    write_json(tmp_path / "fast/seed0/train/metrics.json", METRICS | {"seconds": seconds})
    assert f"in {expected} (" in told(tmp_path)[1]


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
    found = last_words([tmp_path / name for name in logs], since=50)
    assert found == [
        "error: b.csv: gone",
        "error: a.csv: row 3: empty",
        "stopped by SIGTERM after epoch 1 of 9; the same command",
    ]
