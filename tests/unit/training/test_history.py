"""What a training writes about its epochs."""

import json
from dataclasses import replace
from pathlib import Path

from imagepipe.training.history import write_history, write_metrics
from training_builders import SOME_METRICS, read_history


def test_history_has_a_row_of_the_fixed_columns_for_each_epoch(tmp_path: Path) -> None:
    history = [SOME_METRICS, replace(SOME_METRICS, epochs=2, valid_accuracy=None)]
    write_history(tmp_path / "history.csv", history)
    assert (tmp_path / "history.csv").read_text().splitlines() == [
        "epochs,train_loss,train_accuracy,valid_accuracy,learning_rate,examples_per_second,seconds,"
        "device,precision",
        "1,0.5,0.8,0.7,0.1,100.0,2.0,cpu,fp32",
        "2,0.5,0.8,,0.1,100.0,2.0,cpu,fp32",
    ]
    assert [row["epochs"] for row in read_history(tmp_path)] == ["1", "2"]


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
