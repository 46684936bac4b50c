"""Results of trained runs, without a training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from imagepipe.training.history import EpochMetrics, write_history

METRICS = {
    "valid_accuracy": 0.9,
    "valid_images": 100,
    "train_accuracy": 0.98765,
    "train_loss": 1.23456,
    "epochs": 8,
    "seconds": 12.345,
    "examples_per_second": 580.4,
    "device": "cpu",
    "precision": "fp32",
}


def write_run(
    folder: Path,
    name: str,
    seed: int,
    lr: float,
    *,
    recipe: Mapping[str, Any] | None = None,
    split: str = "0123456789ab",
    history: Sequence[EpochMetrics] = (),
    **metrics: Any,
) -> Path:
    """Write the results of a run, with other `metrics` than METRICS, and return their folder."""
    folder = folder / name / f"seed{seed}" / "train"
    folder.mkdir(parents=True)
    settings = {"epochs": 8, "optimizer": {"name": "sgd", "lr": lr}, "freeze": [{"after": 0.1}]}
    settings |= recipe or {}
    run = {"run": name, "seed": seed, "split": split, "recipe": settings}
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    metrics = METRICS | metrics
    (folder / "metrics.json").write_text(json.dumps(metrics))
    name = metrics.get("metric", "accuracy")
    accuracy, value = metrics["valid_accuracy"], metrics.get(name)
    one = EpochMetrics(1, 1.0, 0.5, accuracy, 0.1, 100.0, 1.0, "cpu", "fp32", name, value)
    write_history(folder / "history.csv", history or [one])
    return folder
