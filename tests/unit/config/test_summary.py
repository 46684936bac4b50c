"""The summary at the end of a call."""

import json
import os
from pathlib import Path

import pytest

from imagepipe.config.summary import openable, summary

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


def told(folder: Path, seeds: int = 1, seconds: float | None = None) -> list[str]:
    folders = [folder / f"fast/seed{seed}" for seed in range(seeds)]
    top = folder / "submission.csv"
    return summary("my birds", "fast", folder, folders, top, folder, seconds).splitlines()


def finish(folder: Path) -> None:
    """Write what a whole run leaves, in its order."""
    write_json(folder / "fast/seed0/train/metrics.json", METRICS)
    (folder / "runs.csv").touch()
    write_json(folder / "fast/seed0/final/model.safetensors", "weights")
    write_json(folder / "score.json", {"accuracy": 0.5, "n": 10_000})
    (folder / "submission.csv").touch()
    (folder / "report.html").touch()


def set_time(path: Path, seconds_from_now: float) -> None:
    time = path.stat().st_mtime + seconds_from_now
    os.utime(path, (time, time))


def test_what_is_left_of_an_earlier_run_is_not_mentioned(tmp_path: Path) -> None:
    finish(tmp_path)
    set_time(tmp_path / "fast/seed0/final/model.safetensors", 10)
    names = [line.split()[0] for line in told(tmp_path)[1:]]
    assert names == ["valid", "final", "all"]
    set_time(tmp_path / "fast/seed0/train/metrics.json", 10)
    names = [line.split()[0] for line in told(tmp_path)[1:]]
    assert names == ["valid", "final"]


def test_summary_tells_how_good_the_model_is_and_where_the_results_lie(tmp_path: Path) -> None:
    finish(tmp_path)
    first, *lines = told(tmp_path)
    assert first == "my birds, recipe fast"
    text = "\n".join(lines)
    for word in ("0.8765", "16 epochs", "1 min 1 s", "12,346 examples/sec", "cpu", "fp32"):
        assert word in lines[0]
    assert "0.5000" in lines[1]
    assert "10,000 images" in lines[1]
    for name in ("submission.csv", "fast/seed0/final/model.safetensors"):
        assert f"  {name}\n" in text
    # The report has the table of runs and the score.
    assert lines[-1] == "open report.html"
    assert len(lines) == 5


def test_summary_names_the_table_of_runs_where_no_report_has_it(tmp_path: Path) -> None:
    finish(tmp_path)
    (tmp_path / "report.html").unlink()
    assert told(tmp_path)[-1].split() == ["all", "runs", "runs.csv"]


@pytest.mark.parametrize("newer", ["train/metrics.json", "final/model.safetensors"])
def test_a_report_of_earlier_results_is_not_to_be_opened(tmp_path: Path, newer: str) -> None:
    finish(tmp_path)
    set_time(tmp_path / "fast/seed0" / newer, 10)
    assert "report" not in "".join(told(tmp_path))


def test_a_report_of_another_run_is_not_to_be_opened(tmp_path: Path) -> None:
    finish(tmp_path)
    set_time(tmp_path / "report.html", 60)

    def last_line(seconds: float | None, *, is_published: bool) -> str:
        arguments = ("my birds", "fast", tmp_path, [tmp_path / "fast/seed0"])
        top = tmp_path / "submission.csv"
        text = summary(*arguments, top, tmp_path, seconds, is_published=is_published)
        return text.splitlines()[-1]

    assert last_line(None, is_published=True) == "open report.html"
    assert "report" not in last_line(None, is_published=False)
    # One that this call has written is this run's, whether it was published or not.
    assert last_line(5, is_published=False) == "open report.html"
    set_time(tmp_path / "report.html", -120)
    for file in ("train/metrics.json", "final/model.safetensors"):
        set_time(tmp_path / "fast/seed0" / file, -120)
    set_time(tmp_path / "score.json", -120)
    assert "report" not in last_line(5, is_published=False)


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
    assert "0.8765, of one member, after 16 epochs" in text
    assert "final/model.safetensors, and 2 more beside seed0\n" in text


def test_summary_names_no_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "submission.csv").touch()
    lines = told(tmp_path)
    assert len(lines) == 2
    assert lines[1].split() == ["submission", "submission.csv"]


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


def test_summary_says_how_sure_the_accuracy_is(tmp_path: Path) -> None:
    write_json(
        tmp_path / "fast/seed0/train/metrics.json",
        METRICS | {"valid_accuracy": 0.94, "valid_images": 100},
    )
    # √(0.94 · 0.06 / 100)
    assert (
        "  valid accuracy  0.9400 ± 0.0237 on 100 images, after 16 epochs in" in told(tmp_path)[1]
    )


def test_summary_of_a_model_without_epochs(tmp_path: Path) -> None:
    write_json(tmp_path / "fast/seed0/train/metrics.json", METRICS | {"epochs": 1})
    assert "after 1 epoch in" in told(tmp_path)[1]


def test_summary_tells_the_competitions_metric_and_the_accuracy(tmp_path: Path) -> None:
    finish(tmp_path)
    own = {"metric": "log_loss", "log_loss": 0.41234, "valid_images": 100, "valid_accuracy": 0.94}
    write_json(
        tmp_path / "score.json", {"metric": "log_loss", "log_loss": 0.5, "n": 10, "accuracy": 0.8}
    )
    (tmp_path / "submission.csv").touch()
    write_json(tmp_path / "fast/seed0/train/metrics.json", METRICS | own)
    _, valid, test, *_ = told(tmp_path)
    start = "  valid log loss  0.4123, accuracy 0.9400 ± 0.0237 on 100 images, after 16 epochs in"
    assert valid.startswith(start)
    assert test == "  test log loss   0.5000, accuracy 0.8000  on 10 images"


def test_summary_says_that_a_metric_is_not_defined(tmp_path: Path) -> None:
    own = {"metric": "roc_auc", "roc_auc": None, "valid_images": 3}
    write_json(tmp_path / "fast/seed0/train/metrics.json", METRICS | own)
    assert "  valid ROC AUC   not defined, accuracy 0.8765 ±" in told(tmp_path)[1]


def test_summary_says_how_long_the_call_took(tmp_path: Path) -> None:
    assert told(tmp_path, seconds=42) == ["my birds, recipe fast, in 42.0 s"]


@pytest.mark.parametrize(
    ("called_from", "expected"),
    [
        ("", "a/b.csv"),
        ("a", "b.csv"),
        ("beside", "../a/b.csv"),
        ("far/away", None),
    ],
)
def test_paths_can_be_opened_from_where_the_user_stands(
    tmp_path: Path, called_from: str, expected: str | None
) -> None:
    path = tmp_path / "a/b.csv"
    assert openable(path, tmp_path / called_from) == (expected or str(path))
