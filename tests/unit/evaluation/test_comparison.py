"""The figure of a dataset's runs: their results, their curves, and what the settings do."""

import json
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

import runs
from figure_reading import check_readable, saved_figures, svg_texts
from imagepipe.config.runs import run_name
from imagepipe.evaluation.comparison import draw_comparison, largest_sweep, varied_settings
from imagepipe.selection.run_results import read_runs
from imagepipe.training.history import EpochMetrics
from run_builders import write_run


def drawn(folders: Sequence[Path], svg: Path) -> Figure:
    with saved_figures() as figures:
        draw_comparison(read_runs(folders), svg)
    (figure,) = figures
    check_readable(figure)
    return figure


def epochs(*valid_accuracies: float, metric: str | None = None) -> list[EpochMetrics]:
    return [
        EpochMetrics(e, 1.0, 0.5, accuracy, 0.1, 100.0, 1.0, "cpu", "fp32", metric, 1 - accuracy)
        for e, accuracy in enumerate(valid_accuracies, start=1)
    ]


def sweep(folder: Path) -> list[Path]:
    """Return runs of one recipe with other rates, and one of another recipe."""
    folders = [
        write_run(folder, f"fast@optimizer.lr={lr}", 0, lr, valid_accuracy=accuracy)
        for lr, accuracy in ((0.1, 0.91), (0.2, 0.95), (0.3, 0.93))
    ]
    return [*folders, write_run(folder, "d2l", 0, 0.001, valid_accuracy=0.4)]


def points(axes: Axes) -> list[tuple[float, float]]:
    """Return the places of the dots of a scatter plot."""
    (dots,) = axes.collections
    return [(float(x), float(y)) for x, y in dots.get_offsets()]


@pytest.mark.parametrize(("count", "words"), [(0, "No run has a result"), (1, "One run has a")])
def test_less_than_two_runs_are_a_sentence(tmp_path: Path, count: int, words: str) -> None:
    folders = [write_run(tmp_path, "fast", seed, 0.1) for seed in range(count)]
    figure = drawn(folders, tmp_path / "runs.svg")
    text = " ".join(svg_texts(tmp_path / "runs.svg"))
    assert words in text
    assert "nothing to compare yet" in text
    assert "another seed makes another run" in text
    assert not figure.axes


def test_each_run_has_its_accuracy_and_interval_the_best_first(tmp_path: Path) -> None:
    figure = drawn(sweep(tmp_path), tmp_path / "runs.svg")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "fast, lr=0.2",
        "fast, lr=0.3",
        "fast, lr=0.1",
        "d2l",
    ]
    bar, dot = axes.get_lines()[:2]
    assert dot.get_xydata().tolist() == [[0.95, 0.0]]
    interval = binomtest(95, 100).proportion_ci(method="wilson")
    assert bar.get_xdata() == pytest.approx([interval.low, interval.high])
    assert axes.yaxis_inverted()
    shown = svg_texts(tmp_path / "runs.svg")
    assert [text for text in shown if text.startswith("0.") and len(text) == 6] == [
        *("0.9500", "0.9300", "0.9100", "0.4000")
    ]
    assert "accuracy on the validation images, 95 % interval" in shown


def test_curves_have_the_markers_of_their_runs(tmp_path: Path) -> None:
    long = [0.9 - 0.5 / e for e in range(1, 951)]
    folders = [
        write_run(tmp_path, "a", 0, 0.1, valid_accuracy=0.9, history=epochs(0.3, 0.5, 0.9)),
        write_run(tmp_path, "b", 0, 0.1, valid_accuracy=long[-1], history=epochs(*long)),
    ]
    results, curves = drawn(folders, tmp_path / "runs.svg").axes[:2]
    markers = [line.get_marker() for line in results.get_lines()[1::2]]
    line_of = {line.get_marker(): line for line in curves.get_lines()}
    assert len(set(markers)) == 2
    assert line_of[markers[0]].get_xydata().tolist() == [[1, 0.3], [2, 0.5], [3, 0.9]]
    thinned = line_of[markers[1]].get_xydata()
    assert len(thinned) <= 100
    assert thinned[-1].tolist() == [950, long[-1]]
    assert all(long[int(epoch) - 1] == accuracy for epoch, accuracy in thinned)
    assert curves.get_xscale() == "log"


def test_of_many_runs_the_best_are_listed_and_eight_are_marked(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path, f"r{i}", 0, 0.1, valid_accuracy=0.5 + i / 100) for i in range(40)
    ]
    results, curves = drawn(folders, tmp_path / "runs.svg").axes[:2]
    names = [label.get_text() for label in results.get_yticklabels()]
    assert names == [f"r{i}" for i in range(39, 14, -1)]
    assert "and 15 more in runs.csv" in svg_texts(tmp_path / "runs.svg")
    markers = [line.get_marker() for line in curves.get_lines()]
    assert len(markers) == 25
    assert len(set(markers) - {"."}) == 8


def test_each_setting_of_a_sweep_has_a_panel_of_the_metric(tmp_path: Path) -> None:
    figure = drawn(sweep(tmp_path), tmp_path / "runs.svg")
    (axes,) = figure.axes[2:]
    assert axes.get_xlabel() == "optimizer.lr"
    # Not the run of the other recipe.
    assert points(axes) == [(0.2, 0.95), (0.3, 0.93), (0.1, 0.91)]
    assert axes.get_xscale() == "linear"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.1", "0.2", "0.3"]
    (star,) = axes.get_lines()
    assert star.get_xydata().tolist() == [[0.2, 0.95]]
    assert any("by what varies in fast" in text for text in svg_texts(tmp_path / "runs.svg"))


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ((0.001, 0.021), "log"),
        ((0.001, 0.02), "linear"),
        ((0.0, 1.0), "linear"),
        ((-1.0, 1.0), "linear"),
    ],
)
def test_an_axis_of_widely_spread_values_is_logarithmic(
    tmp_path: Path, values: tuple[float, float], scale: str
) -> None:
    folders = [write_run(tmp_path, f"fast@optimizer.lr={lr}", 0, lr) for lr in values]
    (axes,) = drawn(folders, tmp_path / "runs.svg").axes[2:]
    assert axes.get_xscale() == scale
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"{lr:g}" for lr in values]


def test_settings_that_are_no_numbers_are_columns(tmp_path: Path) -> None:
    kinds = ["none", "ema", "none", None]
    folders = [
        write_run(
            tmp_path,
            f"fast@averaging={number}",
            0,
            0.1,
            recipe={"averaging": kind, "flip": number > 1},
            valid_accuracy=0.9 - number / 10,
        )
        for number, kind in enumerate(kinds)
    ]
    figure = drawn(folders, tmp_path / "runs.svg")
    averaging, flip = figure.axes[2:4]
    assert [label.get_text() for label in averaging.get_xticklabels()] == ["ema", "none"]
    assert [x for x, _ in points(averaging)] == [1, 0, 1, 1]
    assert [label.get_text() for label in flip.get_xticklabels()] == ["False", "True"]
    assert [x for x, _ in points(flip)] == [0, 0, 1, 1]


def test_the_settings_that_vary_most_are_drawn(tmp_path: Path) -> None:
    base = {"same": 1, "a": 0, "b": 0, "c": 0, "d": 0, "e": "", "many": ""}
    folders = []
    for number in range(12):
        values = {"a": number % 2, "b": number % 3, "c": number % 4, "d": number, "e": number % 2}
        changed = values | {"many": f"name{number}", "epochs": number % 6}
        name = run_name("fast", base, base | changed)
        folders.append(write_run(tmp_path, name, number, 0.1, recipe=base | changed))
    results = read_runs(folders)
    assert varied_settings(results) == ["d", "recipe.epochs", "c", "b"]
    figure = drawn(folders, tmp_path / "runs.svg")
    assert [axes.get_xlabel() for axes in figure.axes[2:]] == ["d", "epochs", "c", "b"]


def test_the_largest_sweep_is_the_one_of_most_runs_or_the_best(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path, name, seed, 0.1, valid_accuracy=accuracy)
        for name, seed, accuracy in (
            ("d2l", 0, 0.5),
            ("fast", 0, 0.9),
            ("d2l@epochs=2", 0, 0.4),
            ("fast@epochs=2", 0, 0.8),
        )
    ]
    assert [run.settings["run"] for run in largest_sweep(read_runs(folders))] == [
        "fast",
        "fast@epochs=2",
    ]
    folders.append(write_run(tmp_path, "d2l@epochs=3", 0, 0.1, valid_accuracy=0.3))
    assert len(largest_sweep(read_runs(folders))) == 3


def test_another_metric_has_its_values_and_its_direction(tmp_path: Path) -> None:
    folders = [
        write_run(
            tmp_path,
            name,
            0,
            0.1,
            metric="log_loss",
            log_loss=value,
            history=epochs(0.4, 0.5, metric="log_loss"),
        )
        for name, value in (("a", 0.5), ("b", 0.25), ("undefined", None), ("nan", math.nan))
    ]
    old = write_run(tmp_path, "old", 0, 0.1, valid_accuracy=0.99)
    os.utime(old / "metrics.json", (1, 1))
    results, curves = drawn([*folders, old], tmp_path / "runs.svg").axes[:2]
    assert [label.get_text() for label in results.get_yticklabels()] == ["b", "a"]
    shown = svg_texts(tmp_path / "runs.svg")
    assert "log loss on the validation images (lower is better)" in shown
    assert "and 3 more in runs.csv" in shown
    assert curves.get_lines()[0].get_ydata().tolist() == [0.6, 0.5]
    assert "Validation log loss over the epochs" in shown


def test_a_label_has_the_changes_the_seed_and_the_split(tmp_path: Path) -> None:
    names = [
        "fast@optimizer.lr=0.1@x.lr=2@averaging.name=ema",
        "a-recipe-with-a-very-long-name-0123abcd@+3-0123abcd",
    ]
    folders = [
        write_run(tmp_path, names[0], 0, 0.1),
        write_run(tmp_path, names[1], 1, 0.1, valid_accuracy=0.5, split="other"),
    ]
    results = drawn(folders, tmp_path / "runs.svg").axes[0]
    first, second = (label.get_text() for label in results.get_yticklabels())
    # Of two keys with the same end, both have their full name.
    assert first == "fast, optimizer.lr=0.1, x.lr=2\naveraging=ema, seed 0"
    assert second.startswith("a-recipe-with-")
    assert second.endswith("\n+3-0123abcd, seed 1 *")
    assert "* validated on other images than the first" in svg_texts(tmp_path / "runs.svg")


def test_a_damaged_history_leaves_out_its_curve_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [write_run(tmp_path, name, 0, 0.1) for name in "abc"]
    (folders[0] / "history.csv").write_text("epochs\n\0")
    (folders[1] / "history.csv").unlink()
    results, curves = drawn(folders, tmp_path / "runs.svg").axes[:2]
    assert len(results.get_yticklabels()) == 3
    assert len([line for line in curves.get_lines() if len(line.get_xdata())]) == 1
    messages = [record.getMessage() for record in caplog.records]
    assert [str(folder) in text for folder, text in zip(folders, messages, strict=False)] == [
        True,
        True,
    ]
    (folders[2] / "history.csv").write_text("")
    drawn(folders, tmp_path / "runs.svg")
    assert "no run has a history.csv" in svg_texts(tmp_path / "runs.svg")


def test_the_script_writes_table_and_figure_of_the_same_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep(tmp_path)
    damaged = write_run(tmp_path, "damaged", 0, 0.1)
    (damaged / "metrics.json").write_text("{")
    names = ["d2l", "damaged", *(f"fast@optimizer.lr={lr}" for lr in (0.1, 0.2, 0.3))]
    for figure in ("one.svg", "other.svg"):
        runs.main(
            SimpleNamespace(
                output=SimpleNamespace(
                    table=str(tmp_path / "runs.csv"),
                    comparison=str(tmp_path / "figures" / figure),
                ),
                params=SimpleNamespace(options=json.dumps({"runs": [[name, 0] for name in names]})),
            )
        )
    lines = (tmp_path / "runs.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [
        *(f"fast@optimizer.lr={lr}" for lr in (0.2, 0.3, 0.1)),
        "d2l",
    ]
    # Each run is read once, and warned of once.
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    for ending in (".svg", ".png"):
        one, other = (tmp_path / "figures" / f"{name}{ending}" for name in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()
    assert "fast, lr=0.2" in svg_texts(tmp_path / "figures/one.svg")
