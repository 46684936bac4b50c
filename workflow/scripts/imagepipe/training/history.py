"""What a training writes about its epochs: history.csv, metrics.json, and lines in the log."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

from imagepipe.config.metric_names import metric_words
from imagepipe.errors import UserError
from imagepipe.files import write_rows, write_text

Epoch = TypeVar("Epoch")


@dataclass(frozen=True)
class EpochMetrics:
    """A row of history.csv; `epochs` is the number of epochs so far.

    Loss and accuracy (0…1) of the training images are means over the epoch's augmented batches.
    `valid_accuracy` is None without validation images. `metric` is the competition's metric of the
    validation images, None where it is not defined; `metric_name` is None without validation.
    Another metric than accuracy has a column of its own name.
    """

    epochs: int
    train_loss: float
    train_accuracy: float
    valid_accuracy: float | None
    learning_rate: float
    examples_per_second: float
    seconds: float
    device: str
    precision: str
    metric_name: str | None = None
    metric: float | None = None


METRIC_FIELDS = ("metric_name", "metric")
HISTORY_COLUMNS = tuple(f.name for f in fields(EpochMetrics) if f.name not in METRIC_FIELDS)


def write_history(path: Path, history: Sequence[EpochMetrics]) -> None:
    """Write history.csv, with a row for each epoch; an unknown value is left empty."""
    columns = [*HISTORY_COLUMNS]
    if history and has_own_metric(history[0]):
        columns.insert(columns.index("valid_accuracy") + 1, str(history[0].metric_name))
    rows = (as_row(epoch) for epoch in history)
    write_rows(path, columns, ([row[column] for column in columns] for row in rows))


def read_history(path: Path) -> list[EpochMetrics]:
    """Read history.csv; `metric_name` is None if the metric is accuracy.

    Raises `UserError` if the file is missing, damaged, or has no epoch.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
        own = next((name for name in header if name not in HISTORY_COLUMNS), None)
        history = [_epoch(dict(zip(header, row, strict=True)), own) for row in rows]
    except FileNotFoundError:
        raise UserError(f"{path}: the file does not exist; train again") from None
    except (csv.Error, KeyError, TypeError, ValueError):
        history = []
    if not history:
        raise UserError(f"{path}: is not the history of a training; remove it, and call again")
    return history


def _epoch(row: Mapping[str, str], metric_name: str | None) -> EpochMetrics:
    return EpochMetrics(
        epochs=int(row["epochs"]),
        train_loss=float(row["train_loss"]),
        train_accuracy=float(row["train_accuracy"]),
        valid_accuracy=_known(row["valid_accuracy"]),
        learning_rate=float(row["learning_rate"]),
        examples_per_second=float(row["examples_per_second"]),
        seconds=float(row["seconds"]),
        device=row["device"],
        precision=row["precision"],
        metric_name=metric_name,
        metric=None if metric_name is None else _known(row[metric_name]),
    )


def _known(field: str) -> float | None:
    return float(field) if field else None


def thinned(epochs: Sequence[Epoch], most: int) -> list[Epoch]:
    """Return at most so many epochs, at equal distances, the last one among them."""
    step = math.ceil(len(epochs) / most) or 1
    return list(epochs[::-1][::step][::-1])


def has_own_metric(metrics: EpochMetrics) -> bool:
    """Return whether the competition's metric is another one than accuracy."""
    return metrics.metric_name not in (None, "accuracy")


def as_row(metrics: EpochMetrics) -> dict[str, object]:
    """Return the values by their names in history.csv and metrics.json."""
    row = asdict(metrics)
    name, value = (row.pop(field) for field in METRIC_FIELDS)
    return row | ({name: value} if has_own_metric(metrics) else {})


def write_metrics(path: Path, history: Sequence[EpochMetrics], valid_images: int) -> None:
    """Write metrics.json: the last epoch's metrics, and the time and speed of all epochs.

    `metric` is the name of the competition's metric.
    """
    metrics = as_row(history[-1])
    del metrics["learning_rate"]
    if history[-1].metric_name is not None:
        metrics["metric"] = history[-1].metric_name
    seconds = sum(epoch.seconds for epoch in history)
    examples = sum(epoch.examples_per_second * epoch.seconds for epoch in history)
    metrics |= {"examples_per_second": examples / seconds, "seconds": seconds}
    metrics["valid_images"] = valid_images
    write_text(path, json.dumps(metrics, indent=2, sort_keys=True) + "\n")


def epoch_line(metrics: EpochMetrics, epochs: int) -> str:
    """Return the log line of an epoch, in the chapter's terms."""
    valid, metric = metrics.valid_accuracy, metrics.metric
    words = metric_words(metrics.metric_name or "")
    return (
        f"epoch {metrics.epochs:>{len(str(epochs))}}/{epochs}: "
        f"train loss {metrics.train_loss:.3f}, train acc {metrics.train_accuracy:.3f}, "
        + (f"valid acc {valid:.3f}, " if valid is not None else "")
        + (
            f"valid {words} {metric:.3f}, "
            if has_own_metric(metrics) and metric is not None
            else ""
        )
        + f"{metrics.examples_per_second:,.0f} examples/sec on {metrics.device}"
    )
