"""Which run is chosen to be trained on all images."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from imagepipe.selection import select


def selected(folder: Path, accuracies: list[float]) -> tuple[dict, pd.DataFrame]:
    """Select among runs r0, r1, … with these accuracies; return the choice and the table."""
    runs, metrics = [], []
    for number, accuracy in enumerate(accuracies):
        path = folder / f"{number}.json"
        path.write_text(json.dumps({"valid_accuracy": accuracy, "epochs": 10 + number}))
        runs.append({"run": f"r{number}", "seed": 5 + number})
        metrics.append(path)
    select(runs, metrics, folder / "runs.csv", folder / "selected.yaml")
    choice = yaml.safe_load((folder / "selected.yaml").read_text())
    return choice, pd.read_csv(folder / "runs.csv")


@pytest.mark.parametrize(
    ("accuracies", "best", "order"),
    [
        ([0.5], 0, ["r0"]),
        ([0.5, 0.7, 0.6], 1, ["r1", "r2", "r0"]),
        ([0.5, 0.7, 0.7], 1, ["r1", "r2", "r0"]),
        ([0.7, 0.1, 0.7], 0, ["r0", "r2", "r1"]),
        ([0.5, 0.7] * 50, 1, [f"r{n}" for n in [*range(1, 100, 2), *range(0, 100, 2)]]),
        ([float("nan"), 0.1], 1, ["r1", "r0"]),
    ],
)
def test_most_accurate_run_is_chosen_and_of_equals_the_first(
    tmp_path: Path, accuracies: list[float], best: int, order: list[str]
) -> None:
    choice, table = selected(tmp_path, accuracies)
    assert choice == {
        "run": f"r{best}",
        "seed": 5 + best,
        "epochs": 10 + best,
        "valid_accuracy": accuracies[best],
    }
    assert list(table["run"]) == order
    assert {"run", "seed", "valid_accuracy", "epochs"} <= set(table.columns)


def test_name_of_a_recipe_is_no_formula_for_a_spreadsheet(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.json"
    metrics.write_text(json.dumps({"valid_accuracy": 0.5, "epochs": 1}))
    table, choice = tmp_path / "runs.csv", tmp_path / "selected.yaml"
    select([{"run": "=1+1", "seed": 0}], [metrics], table, choice)
    assert table.read_text().splitlines()[1].startswith("'=1+1,")
    assert yaml.safe_load(choice.read_text())["run"] == "=1+1"
