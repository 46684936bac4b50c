"""What a training writes about its epochs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builders import refused
from imagepipe.training.history import (
    epoch_line,
    read_history,
    thinned,
    write_history,
    write_metrics,
)
from training_builders import SOME_METRICS
from training_builders import read_history as read_rows


def test_history_has_a_row_of_the_fixed_columns_for_each_epoch(tmp_path: Path) -> None:
    history = [SOME_METRICS, replace(SOME_METRICS, epochs=2, valid_accuracy=None)]
    write_history(tmp_path / "history.csv", history)
    assert (tmp_path / "history.csv").read_text().splitlines() == [
        "epochs,train_loss,train_accuracy,valid_accuracy,learning_rate,examples_per_second,seconds,"
        "device,precision",
        "1,0.5,0.8,0.7,0.1,100.0,2.0,cpu,fp32",
        "2,0.5,0.8,,0.1,100.0,2.0,cpu,fp32",
    ]
    assert [row["epochs"] for row in read_rows(tmp_path)] == ["1", "2"]


def test_metrics_are_those_of_the_last_epoch_with_the_speed_of_all(tmp_path: Path) -> None:
    last = replace(SOME_METRICS, epochs=2, train_loss=0.25, seconds=1.0, examples_per_second=400.0)
    write_metrics(tmp_path / "metrics.json", [SOME_METRICS, last], valid_images=9)
    assert json.loads((tmp_path / "metrics.json").read_text()) == {
        "epochs": 2,
        "train_loss": 0.25,
        "train_accuracy": 0.8,
        "valid_accuracy": 0.7,
        "examples_per_second": 200.0,
        "seconds": 3.0,
        "device": "cpu",
        "precision": "fp32",
        "valid_images": 9,
    }


@pytest.mark.parametrize("name", [None, "accuracy"])
def test_accuracy_as_the_metric_adds_no_column(tmp_path: Path, name: str | None) -> None:
    write_history(tmp_path / "plain.csv", [SOME_METRICS])
    metrics = replace(SOME_METRICS, metric_name=name, metric=0.7 if name else None)
    write_history(tmp_path / "history.csv", [metrics])
    assert (tmp_path / "history.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    assert epoch_line(metrics, 9) == epoch_line(SOME_METRICS, 9)
    write_metrics(tmp_path / "plain.json", [SOME_METRICS], valid_images=9)
    write_metrics(tmp_path / "metrics.json", [metrics], valid_images=9)
    plain = json.loads((tmp_path / "plain.json").read_text())
    added = {} if name is None else {"metric": "accuracy"}
    assert json.loads((tmp_path / "metrics.json").read_text()) == plain | added


def test_another_metric_has_a_column_and_a_key_of_its_name(tmp_path: Path) -> None:
    first = replace(SOME_METRICS, metric_name="log_loss", metric=None)
    second = replace(first, epochs=2, metric=0.25)
    write_history(tmp_path / "history.csv", [first, second])
    assert (tmp_path / "history.csv").read_text().splitlines() == [
        "epochs,train_loss,train_accuracy,valid_accuracy,log_loss,learning_rate,"
        "examples_per_second,seconds,device,precision",
        "1,0.5,0.8,0.7,,0.1,100.0,2.0,cpu,fp32",
        "2,0.5,0.8,0.7,0.25,0.1,100.0,2.0,cpu,fp32",
    ]
    write_metrics(tmp_path / "metrics.json", [first, second], valid_images=9)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["metric"], metrics["log_loss"], metrics["valid_accuracy"]) == (
        "log_loss",
        0.25,
        0.7,
    )
    assert "valid acc 0.700, valid log loss 0.250, 100 examples/sec" in epoch_line(second, 2)
    assert "log loss" not in epoch_line(first, 2)


@pytest.mark.parametrize("own", [{}, {"metric_name": "log_loss", "metric": 0.1 + 0.2}])
def test_a_history_is_read_as_it_was_written(tmp_path: Path, own: dict[str, Any]) -> None:
    first = replace(SOME_METRICS, train_loss=1 / 3, **own)
    none = replace(first, epochs=2, valid_accuracy=None, metric=None)
    write_history(tmp_path / "history.csv", [first, none])
    assert read_history(tmp_path / "history.csv") == [first, none]


WRITTEN = (
    "epochs,train_loss,train_accuracy,valid_accuracy,learning_rate,examples_per_second,seconds,"
    "device,precision\n1,0.5,0.8,0.7,0.1,100.0,2.0,cpu,fp32\n"
)


@pytest.mark.parametrize(
    "content",
    [
        "",
        WRITTEN.splitlines()[0],
        WRITTEN.replace("learning_rate,", ""),
        WRITTEN.replace("0.8", "much"),
        WRITTEN.replace(",cpu,fp32", ""),
        WRITTEN.replace(",2.0,cpu,fp32", ""),
        WRITTEN.replace("0.5", "\0"),
        WRITTEN.replace("0.5", '"0.5'),
        WRITTEN.replace("0.5", "\udcff"),
    ],
)
def test_a_damaged_history_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with refused(str(path), "is not the history"):
        read_history(path)
    with refused("does not exist"):
        read_history(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    ("epochs", "kept"), [(0, []), (1, [0]), (4, [0, 1, 2, 3]), (5, [0, 2, 4]), (9, [2, 5, 8])]
)
def test_of_many_epochs_some_are_kept_and_the_last(epochs: int, kept: list[int]) -> None:
    assert thinned(range(epochs), 4) == kept
