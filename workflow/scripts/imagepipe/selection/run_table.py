"""The table of all runs of a dataset: what differs between them, and how good they are."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from imagepipe.config.runs import leaves, standard_error
from imagepipe.files import spreadsheet_safe, write_rows

logger = logging.getLogger(__name__)

# How the figures are written, in this order, behind what differs.
FIGURES = {
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
IDENTITY = ("run", "seed")
# What comes of reading a file in which something else is written.
NOT_AS_WRITTEN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class ValidatedRun:
    """A run: its settings by their dotted keys, and its figures, `FIGURES` among them."""

    settings: dict[str, Any]
    figures: dict[str, Any]


def write_run_table(folders: Sequence[Path], table: Path) -> None:
    """Write a row for each run, the most accurate on its validation images first.

    Each of the `folders` has metrics.json and run.yaml of a run, as `training_runs.train_run`
    writes them; one that is gone is left out. The columns are run and seed, the settings that are
    not the same in all runs, by their dotted keys, and `FIGURES`. A run whose files are not as they
    were written is left out, with a warning: it is not to stand in the way of another one.
    """
    runs = [run for folder in folders if (run := read_run(folder)) is not None]
    runs.sort(key=lambda run: run.figures["valid_accuracy"], reverse=True)
    keys = dict.fromkeys(key for run in runs for key in run.settings if key not in IDENTITY)
    differing = [key for key in keys if len({_shown(run.settings.get(key)) for run in runs}) > 1]
    names = [_column(key) for key in differing]
    rows = (
        [spreadsheet_safe(_shown(run.settings.get(key))) for key in (*IDENTITY, *differing)]
        + [form.format(run.figures[name]) for name, form in FIGURES.items()]
        for run in runs
    )
    write_rows(table, [*IDENTITY, *names, *FIGURES], rows)


def read_run(folder: Path) -> ValidatedRun | None:
    """Return the run whose files lie in a folder, or None if one of them is gone or damaged."""
    try:
        settings = yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8"))
        figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        noise = standard_error(figures["valid_accuracy"], figures["valid_images"])
        run = ValidatedRun(dict(leaves(settings)), figures | {"standard_error": noise})
        for name, form in FIGURES.items():
            form.format(run.figures[name])
    except FileNotFoundError:
        return None
    except (*NOT_AS_WRITTEN, yaml.YAMLError) as error:
        detail = " ".join(str(error).split())
        logger.warning(
            "%s: is left out of the table of runs, as its run.yaml and metrics.json are not as a "
            "training writes them (%s)",
            *(folder, detail),
        )
        return None
    return run


def _column(key: str) -> str:
    """Return the name of a setting's column: without "recipe.", unless a figure is called so."""
    short = key.removeprefix("recipe.")
    return key if short in FIGURES else short


def _shown(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return json.dumps(value)
    return "" if value is None else str(value)
