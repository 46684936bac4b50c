"""The results of a dataset's runs on the disk."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import yaml

from imagepipe.config.metric_names import higher_is_better
from imagepipe.config.runs import leaves, standard_error
from imagepipe.errors import UserError
from imagepipe.files import spreadsheet_safe
from imagepipe.training.history import EpochMetrics, read_history

logger = logging.getLogger(__name__)

# The names of results, and their formats.
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
# Raised where a file's content is not what a training writes.
DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, yaml.YAMLError)


@dataclass(frozen=True)
class RunResult:
    """A run's settings and its results on the validation images.

    settings: by their dotted keys, without "recipe." (see `column_name`). row: settings and results
    as texts. metric: the name of the competition's metric, and `value`, None where it is not
    defined, of `valid_images`. history: empty if it is damaged. written: the time of metrics.json.
    """

    settings: Mapping[str, Any]
    row: Mapping[str, str]
    metric: str
    value: float | None
    valid_images: int
    history: Sequence[EpochMetrics]
    written: float

    @property
    def rating(self) -> float:
        """The value, or its negative where a lower one is better; -inf if it is not defined."""
        if self.value is None or math.isnan(self.value):
            return -math.inf
        return self.value if higher_is_better(self.metric) else -self.value


def read_runs(folders: Sequence[Path]) -> list[RunResult]:
    """Return the results of runs, the best on the validation images by the metric first.

    Each of the `folders` has the metrics.json, run.yaml and history.csv of a run. One without the
    first two is left out, and one where they are damaged, with a warning. The metric is that of the
    newest run: runs from before a change of the dataset's metric come last.
    """
    runs = [run for folder in folders if (run := read_run(folder)) is not None]
    newest = max(runs, key=attrgetter("written"), default=None)
    metric = newest.metric if newest else ACCURACY
    return sorted(runs, key=lambda run: (run.metric == metric, run.rating), reverse=True)


def read_run(folder: Path) -> RunResult | None:
    """Return a run's result, or None if a file is missing or damaged."""
    source = folder / "metrics.json"
    try:
        nested = yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8"))
        settings = {column_name(key): value for key, value in leaves(nested)}
        metrics = json.loads(source.read_text(encoding="utf-8"))
        accuracy = float(metrics["valid_accuracy"])
        metrics["standard_error"] = standard_error(accuracy, metrics["valid_images"])
        row = {key: setting_text(value) for key, value in settings.items()}
        row |= {key: form.format(metrics[key]) for key, form in RESULTS.items()}
        metric = str(metrics.get("metric", ACCURACY))
        value: float | None = accuracy
        if metric != ACCURACY:
            value = None if metrics[metric] is None else float(metrics[metric])
            row[metric] = "" if value is None else f"{value:.4f}"
        return RunResult(
            settings=settings,
            row=row,
            metric=metric,
            value=value,
            valid_images=int(metrics["valid_images"]),
            history=_history(folder),
            written=source.stat().st_mtime,
        )
    except FileNotFoundError:
        return None
    except DAMAGED as error:
        detail = " ".join(str(error).split())
        logger.warning(
            "%s: left out of the table of runs: its run.yaml or metrics.json is damaged (%s)",
            *(folder, detail),
        )
        return None


def _history(folder: Path) -> list[EpochMetrics]:
    try:
        return read_history(folder / "history.csv")
    except UserError as error:
        logger.warning("left out of the curves of the runs: %s", error)
        return []


def column_name(key: str) -> str:
    """Return the name of a setting's column: without "recipe.", unless a result has that name."""
    short = key.removeprefix("recipe.")
    return key if short in RESULTS else short


def setting_text(value: object) -> str:
    """Return a setting as text that no spreadsheet takes for a formula."""
    text = json.dumps(value) if isinstance(value, Mapping | list) else str(value)
    return "" if value is None else spreadsheet_safe(text)
