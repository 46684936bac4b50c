"""The table of a dataset's runs: what differs between them, and how good they are."""

import csv
import json
import math
import os
from pathlib import Path

import pytest
import yaml

from imagepipe.selection.run_results import read_runs
from imagepipe.selection.run_table import write_run_table
from run_builders import METRICS, write_run


def rows_of(folders: list[Path], table: Path) -> list[dict[str, str]]:
    write_run_table(read_runs(folders), table)
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_run_has_a_row_with_what_differs_and_the_best_is_first(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path, "fast", 0, 0.2),
        write_run(tmp_path, "fast", 7, 0.2, valid_accuracy=0.5, valid_images=25),
        write_run(tmp_path, "fast@optimizer.lr=0.1", 0, 0.1, valid_accuracy=0.95),
    ]
    rows = rows_of(folders, tmp_path / "runs.csv")
    assert [(row["run"], row["seed"], row["optimizer.lr"]) for row in rows] == [
        ("fast@optimizer.lr=0.1", "0", "0.1"),
        ("fast", "0", "0.2"),
        ("fast", "7", "0.2"),
    ]
    assert list(rows[0]) == [
        *("run", "seed", "optimizer.lr", "valid_accuracy", "standard_error"),
        *("valid_images", "train_accuracy", "train_loss", "epochs", "seconds"),
        *("examples_per_second", "device", "precision"),
    ]
    figures = [rows[2][name] for name in ("valid_accuracy", "standard_error", "valid_images")]
    assert figures == ["0.5000", "0.1000", "25"]
    figures = [rows[0][name] for name in ("train_accuracy", "train_loss", "seconds")]
    assert figures == ["0.9877", "1.2346", "12.3"]


def test_one_run_differs_in_nothing_and_another_split_is_told(tmp_path: Path) -> None:
    first, second = write_run(tmp_path, "fast", 0, 0.2), write_run(tmp_path, "fast", 1, 0.2)
    (row,) = rows_of([first], tmp_path / "runs.csv")
    assert list(row)[:3] == ["run", "seed", "valid_accuracy"]
    settings = yaml.safe_load((second / "run.yaml").read_text()) | {"split": "ba9876543210"}
    (second / "run.yaml").write_text(yaml.safe_dump(settings))
    rows = rows_of([first, second], tmp_path / "runs.csv")
    assert {row["split"] for row in rows} == {"0123456789ab", "ba9876543210"}


def test_of_equals_the_first_is_first_and_one_that_is_gone_is_left_out(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, name, 0, 0.2) for name in ("b", "a")]
    rows = rows_of([tmp_path / "gone", *folders], tmp_path / "runs.csv")
    assert [row["run"] for row in rows] == ["b", "a"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", "{"),
        ("metrics.json", "[]"),
        ("metrics.json", "{}"),
        ("metrics.json", json.dumps(METRICS | {"valid_accuracy": None})),
        ("metrics.json", json.dumps(METRICS | {"valid_images": 0})),
        ("metrics.json", json.dumps(METRICS | {"metric": "log_loss"})),
        ("run.yaml", "a: b: c"),
        ("run.yaml", "- 1"),
        ("run.yaml", ""),
    ],
)
def test_damaged_run_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, content: str
) -> None:
    good, bad = (write_run(tmp_path, run, 0, 0.2) for run in ("good", "bad"))
    (bad / name).write_text(content)
    assert [row["run"] for row in rows_of([bad, good], tmp_path / "runs.csv")] == ["good"]
    (record,) = caplog.records
    assert str(bad) in record.getMessage()
    assert len(record.getMessage().splitlines()) == 1


@pytest.mark.parametrize(
    ("metric", "values", "order"),
    [
        ("log_loss", (0.5, 0.25, None), ["b", "a", "c"]),
        ("roc_auc", (math.nan, 0.25, 0.5), ["c", "b", "a"]),
        ("roc_auc", (0.5, 0.75, 0.25), ["b", "a", "c"]),
        ("top_5_error", (0.5, 0.75, 0.25), ["c", "a", "b"]),
        ("accuracy", (0.5, 0.75, 0.25), ["b", "a", "c"]),
    ],
)
def test_best_by_the_metric_in_its_direction_is_first(
    tmp_path: Path, metric: str, values: tuple[float | None, ...], order: list[str]
) -> None:
    folders = []
    for name, value in zip("abc", values, strict=True):
        own = {metric: value} if metric != "accuracy" else {"valid_accuracy": value}
        folders.append(write_run(tmp_path, name, 0, 0.2, metric=metric, **own))
    rows = rows_of(folders, tmp_path / "runs.csv")
    assert [row["run"] for row in rows] == order
    if metric != "accuracy":
        assert list(rows[0])[:5] == ["run", "seed", metric, "valid_accuracy", "standard_error"]
        assert rows[0]["valid_accuracy"] == "0.9000"
    if metric == "log_loss":
        assert [row["log_loss"] for row in rows] == ["0.2500", "0.5000", ""]


def test_runs_from_before_a_change_of_the_metric_come_last(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path, "old", 0, 0.2, valid_accuracy=0.99),
        write_run(tmp_path, "new", 0, 0.2, metric="log_loss", log_loss=0.5),
        write_run(tmp_path, "best", 0, 0.2, metric="log_loss", log_loss=0.25),
    ]
    os.utime(folders[0] / "metrics.json", (1, 1))
    rows = rows_of(folders, tmp_path / "runs.csv")
    assert [(row["run"], row["log_loss"]) for row in rows] == [
        ("best", "0.2500"),
        ("new", "0.5000"),
        ("old", ""),
    ]


def test_a_setting_that_is_called_as_a_figure_has_a_column_of_its_own(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, f"r{epochs}", 0, 0.2, epochs=epochs) for epochs in (8, 9)]
    settings = yaml.safe_load((folders[1] / "run.yaml").read_text())
    settings["recipe"]["epochs"] = 9
    (folders[1] / "run.yaml").write_text(yaml.safe_dump(settings))
    write_run_table(read_runs(folders), tmp_path / "runs.csv")
    header = (tmp_path / "runs.csv").read_text().splitlines()[0].split(",")
    assert header[:3] == ["run", "seed", "recipe.epochs"]
    assert len(set(header)) == len(header)


def test_name_of_a_run_is_no_formula_for_a_spreadsheet(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "=1+1", 0, 0.2)
    assert rows_of([folder], tmp_path / "runs.csv")[0]["run"] == "'=1+1"
