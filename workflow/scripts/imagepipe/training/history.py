"""What a training writes about its epochs: history.csv, metrics.json, and lines in the log."""

import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

from imagepipe.files import write_rows, write_text


@dataclass(frozen=True)
class EpochMetrics:
    """A row of history.csv; `epochs` is the number of epochs so far.

    Loss and accuracy (0…1) of the training images are means over the epoch's augmented batches.
    `valid_accuracy` is None without validation images.
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


HISTORY_COLUMNS = tuple(field.name for field in fields(EpochMetrics))


def write_history(path: Path, history: Sequence[EpochMetrics]) -> None:
    """Write history.csv, with a row for each epoch; an unknown accuracy is left empty."""
    write_rows(path, HISTORY_COLUMNS, map(astuple, history))


def write_metrics(path: Path, history: Sequence[EpochMetrics], valid_images: int) -> None:
    """Write metrics.json: the last epoch's metrics, and the time and speed of all epochs."""
    metrics = asdict(history[-1])
    del metrics["learning_rate"]
    seconds = sum(epoch.seconds for epoch in history)
    examples = sum(epoch.examples_per_second * epoch.seconds for epoch in history)
    metrics |= {"examples_per_second": examples / seconds, "seconds": seconds}
    metrics["valid_images"] = valid_images
    write_text(path, json.dumps(metrics, indent=2, sort_keys=True) + "\n")


def epoch_line(metrics: EpochMetrics, epochs: int) -> str:
    """Return the log line of an epoch, in the chapter's terms."""
    valid = metrics.valid_accuracy
    return (
        f"epoch {metrics.epochs:>{len(str(epochs))}}/{epochs}: "
        f"train loss {metrics.train_loss:.3f}, train acc {metrics.train_accuracy:.3f}, "
        + (f"valid acc {valid:.3f}, " if valid is not None else "")
        + f"{metrics.examples_per_second:,.0f} examples/sec on {metrics.device}"
    )
