"""The curves of trainings: what is drawn, with which axes, and how it looks in a terminal."""

from pathlib import Path

import pytest

from imagepipe.watch.braille import LOWEST, NARROWEST, draw
from imagepipe.watch.curves import MOST_TICKS, Curve, Plot, plots_of, ticks, to_plot
from imagepipe.watch.status import TrainingStatus, Watcher
from watch_builders import NOW, WorkingDirectory, epochs_of, progress_line

STYLES = {"train": "red", "valid": "blue"}


@pytest.fixture
def made(tmp_path: Path) -> WorkingDirectory:
    return WorkingDirectory(tmp_path)


def look(made: WorkingDirectory) -> list[TrainingStatus]:
    return Watcher(made.folder).look(NOW)


def text(lines: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in lines]


def test_the_plots_are_of_loss_accuracy_and_the_metric(made: WorkingDirectory) -> None:
    made.add(epochs=epochs_of(3, metric="roc_auc"), log=[])
    loss, accuracy, metric = plots_of(look(made)[0])
    assert [loss.title, accuracy.title, metric.title] == ["loss", "accuracy", "ROC AUC"]
    train, valid = accuracy.curves
    assert (train.name, train.dashed, train.label) == ("train", True, "train 0.706")
    assert (valid.name, valid.dashed, valid.label) == ("valid", False, "valid 0.592")
    assert [number for number, _ in valid.points] == [1, 2, 3]
    # The axis goes to the training's end.
    assert loss.last_epoch == 8


def test_without_validation_there_is_one_curve_and_before_the_first_epoch_none(
    made: WorkingDirectory,
) -> None:
    made.add("one", epochs=epochs_of(3, valid=False), log=[])
    made.add("two", log=[])
    one, two = sorted(look(made), key=lambda status: status.place.run)
    assert [[curve.name for curve in plot.curves] for plot in plots_of(one)] == [
        ["train"],
        ["train"],
    ]
    assert plots_of(two) == []


def test_trainings_that_run_are_plotted_or_else_the_last_ones(made: WorkingDirectory) -> None:
    for run, silent in (("a", 50.0), ("b", 40.0), ("c", 60.0)):
        made.add(run, epochs=epochs_of(8), log=[], has_metrics=True, silent=silent)
    assert [one.place.run for one in to_plot(look(made), 4)] == ["b", "a"]
    line = progress_line(100, 8000, "epoch 1 of 8")
    for run in "xyz":
        made.add(run, log=[line])
    assert [one.place.run for one in to_plot(look(made), 2)] == ["x", "y"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.34, 0.85, [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.91, 2.09, [0.5, 1.0, 1.5, 2.0, 2.5]),
    ],
)
def test_axes_have_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.5, 0.5), (0, 0), (1, 1), (-2, 3), (1e-12, 2e-12), (1e15, 1e15), (-1e30, 1e30), (5e-324, 1)],
)
def test_every_range_has_an_axis_around_it(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= MOST_TICKS
    assert found == sorted(set(found))
    assert found[0] <= low + 1e-9 * abs(low)
    assert found[-1] >= high - 1e-9 * abs(high)


def test_a_plot_fills_its_place_with_axes_curve_and_label() -> None:
    falling = Curve("train", [(epoch, 10.0 - epoch) for epoch in range(1, 10)])
    lines = text(draw(Plot("loss", [falling], 9, [1.0, 9.0]), STYLES, 40, 11))
    assert len(lines) == 11
    assert {len(line) for line in lines} == {40}
    assert lines[0].strip() == "loss"
    assert lines[1].startswith("      9│⠑")
    assert lines[8].startswith("      1│")
    assert lines[8].endswith("train 1.000")
    assert lines[-1].split() == ["1", "9", "epochs"]
    # The curve falls by a row each, from the left to the right.
    starts = [len(line[8:28]) - len(line[8:28].lstrip()) for line in lines[1:9]]
    assert starts == sorted(starts)
    assert len(set(starts)) == 8


def test_a_dashed_curve_has_gaps_and_its_own_style() -> None:
    points = [(1, 0.5), (100, 0.5)]
    for dashed in (False, True):
        plot = Plot("accuracy", [Curve("valid", points, dashed)], 100, [0.0, 1.0])
        lines = draw(plot, STYLES, 60, 10)
        row = next(line for line in lines if any("valid" in piece for piece, _ in line))
        drawn = [(piece, style) for piece, style in row[1:-1]]
        assert (" " in [piece for piece, _ in drawn]) == dashed
        assert {style for piece, style in drawn if piece != " "} == {"blue"}


def test_labels_of_curves_that_end_together_are_both_there() -> None:
    curves = [Curve(name, [(1, 0.1), (2, 0.9)]) for name in ("train", "valid")]
    lines = text(draw(Plot("accuracy", curves, 2, [0.0, 1.0]), STYLES, 40, LOWEST))
    assert sum("train 0.900" in line for line in lines) == 1
    assert sum("valid 0.900" in line for line in lines) == 1


@pytest.mark.parametrize("value", [0.0, 1e-300, 123456.789, -1e30, 1e300])
@pytest.mark.parametrize("size", [(NARROWEST, LOWEST), (100, 30)])
def test_a_single_epoch_of_any_value_is_a_plot(value: float, size: tuple[int, int]) -> None:
    plot = Plot("loss", [Curve("train", [(1, value)])], 2, ticks(value, value))
    lines = text(draw(plot, STYLES, *size))
    assert {len(line) for line in lines} == {size[0]}
    assert len(lines) == size[1]
    assert any("\u2801" <= letter <= "\u28ff" for line in lines for letter in line)
