"""Comparing the runs on the validation set, and choosing one to be trained on all images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from imagepipe.files import spreadsheet_safe, write_text, written_whole


def select(
    runs: Sequence[dict[str, Any]], metrics: Sequence[Path], table: Path, choice: Path
) -> None:
    """Write a table of all runs, the best first, and the chosen one as YAML.

    `runs` says what each is (`run` and `seed`), in the order of the `metrics` files. The one with
    the highest validation accuracy is chosen; of equals, the first.
    """
    rows = [
        run | json.loads(path.read_text(encoding="utf-8"))
        for run, path in zip(runs, metrics, strict=True)
    ]
    frame = pd.DataFrame(rows).sort_values("valid_accuracy", ascending=False, kind="stable")
    with written_whole(table) as temporary:
        for_people = frame.assign(run=frame["run"].map(spreadsheet_safe))
        for_people.to_csv(temporary, index=False, lineterminator="\n")
    best = frame.iloc[0]
    chosen = {
        "run": str(best["run"]),
        "seed": int(best["seed"]),
        "epochs": int(best["epochs"]),
        "valid_accuracy": float(best["valid_accuracy"]),
    }
    write_text(choice, yaml.safe_dump(chosen, sort_keys=False))
