"""What a training writes of its epochs: history.csv, metrics.json, and a line for the log."""

import json
from pathlib import Path
from typing import Any

from imagepipe.files import write_rows, write_text

HISTORY_COLUMNS = (
    "epochs",
    "train_loss",
    "train_accuracy",
    "valid_accuracy",
    "learning_rate",
    "examples_per_second",
    "seconds",
    "device",
    "precision",
)


def write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """Write a table with a row for each epoch; an accuracy that isn't known is left empty."""
    rows = ([row[column] for column in HISTORY_COLUMNS] for row in history)
    write_rows(path, HISTORY_COLUMNS, rows)


def write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    """Write metrics.json."""
    write_text(path, json.dumps(metrics, indent=2, sort_keys=True) + "\n")


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """Return an epoch's line in the chapter's terms."""
    valid = row["valid_accuracy"]
    return (
        f"epoch {row['epochs']:>{len(str(epochs))}}/{epochs}: "
        f"train loss {row['train_loss']:.3f}, train acc {row['train_accuracy']:.3f}, "
        + (f"valid acc {valid:.3f}, " if valid is not None else "")
        + f"{row['examples_per_second']:,.0f} examples/sec on {row['device']}"
    )
