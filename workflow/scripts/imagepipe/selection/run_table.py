"""The table of a dataset's runs: the settings that differ between them, and their results."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import yaml

from imagepipe.config.metric_names import higher_is_better
from imagepipe.config.runs import leaves, standard_error
from imagepipe.files import spreadsheet_safe, write_rows

logger = logging.getLogger(__name__)

# The columns of results, and their formats.
RESULTS = {
    "valid_accuracy": "{:.4f}",
    "standard_error": "{:.4f}",
    "valid_images": "{}",
    "train_accuracy": "{:.4f}",
    "train_loss": "{:.4f}",
    "epochs": "{}",
    "seconds": "{:.1f}",
    "examples_per_second": "{:.0f}",
    "device": "{}",
    "precision": "{}",
}
ACCURACY = "accuracy"
IDENTITY = ("run", "seed")
# Raised where a file's content is not what a training writes.
DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, yaml.YAMLError)


@dataclass(frozen=True)
class RunResult:
    """A run's row of the table, and what it is sorted by: `rating`, the higher the better.

    `metric` is the name of the competition's metric, and `written` the time of its file.
    """

    row: dict[str, str]
    metric: str
    rating: float
    written: float


def write_run_table(folders: Sequence[Path], target: Path) -> None:
    """Write a row for each run, the best on the validation images by the metric first.

    Each of the `folders` has the metrics.json and run.yaml of a run; one without them is left out.
    The columns are run and seed, the settings that are not the same in all runs, by their dotted
    keys, the metric if it is not accuracy, and `RESULTS`. The standard error is that of the
    accuracy. Runs from before a change of the dataset's metric come last. A run with a damaged
    file is left out, with a warning.
    """
    runs = [run for folder in folders if (run := read_run(folder)) is not None]
    newest = max(runs, key=attrgetter("written"), default=None)
    metric = newest.metric if newest else ACCURACY
    runs.sort(key=lambda run: (run.metric == metric, run.rating), reverse=True)
    results = dict.fromkeys((*(run.metric for run in runs if run.metric != ACCURACY), *RESULTS))
    rows = [run.row for run in runs]
    settings = dict.fromkeys(key for row in rows for key in row)
    differing = [
        key
        for key in settings
        if key not in (*IDENTITY, *results) and len({row.get(key, "") for row in rows}) > 1
    ]
    columns = [*IDENTITY, *differing, *results]
    write_rows(target, columns, ([row.get(key, "") for key in columns] for row in rows))


def read_run(folder: Path) -> RunResult | None:
    """Return a run's result, or None if a file is missing or damaged."""
    source = folder / "metrics.json"
    try:
        settings = yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8"))
        metrics = json.loads(source.read_text(encoding="utf-8"))
        accuracy = float(metrics["valid_accuracy"])
        metrics["standard_error"] = standard_error(accuracy, metrics["valid_images"])
        metric = str(metrics.get("metric", ACCURACY))
        row = {column_name(key): as_text(value) for key, value in leaves(settings)}
        row |= {key: form.format(metrics[key]) for key, form in RESULTS.items()}
        value: float | None = accuracy
        if metric != ACCURACY:
            value = None if metrics[metric] is None else float(metrics[metric])
            row[metric] = "" if value is None else f"{value:.4f}"
        rating = -math.inf if value is None else value if higher_is_better(metric) else -value
        return RunResult(row, metric, rating, source.stat().st_mtime)
    except FileNotFoundError:
        return None
    except DAMAGED as error:
        detail = " ".join(str(error).split())
        logger.warning(
            "%s: left out of the table of runs: its run.yaml or metrics.json is damaged (%s)",
            *(folder, detail),
        )
        return None


def column_name(key: str) -> str:
    """Return the name of a setting's column: without "recipe.", unless a result has that name."""
    short = key.removeprefix("recipe.")
    return key if short in RESULTS else short


def as_text(value: object) -> str:
    """Return a setting as text that no spreadsheet takes for a formula."""
    text = json.dumps(value) if isinstance(value, Mapping | list) else str(value)
    return "" if value is None else spreadsheet_safe(text)
