"""The figure of a run's learning curves."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import curves
from figure_reading import check_readable, saved_figures, svg_texts
from imagepipe.evaluation.learning_curves import draw_learning_curves
from imagepipe.training.history import EpochMetrics, write_history


def training(
    epochs: int = 3, *, valid: bool = True, metric: str | None = None, offset: float = 0.0
) -> list[EpochMetrics]:
    """Return a history; the `offset` makes it another one."""
    return [
        EpochMetrics(
            epochs=epoch,
            train_loss=2 / epoch + offset,
            train_accuracy=0.9 - 0.5 / epoch - offset,
            valid_accuracy=0.8 - 0.5 / epoch if valid else None,
            learning_rate=0.1 / epoch,
            examples_per_second=100.0,
            seconds=1.0,
            device="cpu",
            precision="fp32",
            metric_name=metric,
            metric=None if metric is None else 3 / epoch,
        )
        for epoch in range(1, epochs + 1)
    ]


def drawn(
    validated: Sequence[EpochMetrics],
    final: Mapping[int, Sequence[EpochMetrics]],
    svg: Path,
    run: str = "fast",
) -> Figure:
    with saved_figures() as figures:
        draw_learning_curves(validated, final, run, svg)
    (figure,) = figures
    check_readable(figure)
    return figure


def lines(axes: Axes) -> list[list[tuple[float, float]]]:
    """Return the points of each line of a panel."""
    return [[(float(x), float(y)) for x, y in line.get_xydata()] for line in axes.get_lines()]


def test_every_number_of_the_histories_is_drawn(tmp_path: Path) -> None:
    validated, final = training(), {0: training(offset=0.1), 1: training(offset=0.2)}
    figure = drawn(validated, final, tmp_path / "curves.svg")
    loss, accuracy, rate = figure.axes
    every = [(1.0, 2.0), (2.0, 1.0), (3.0, 2 / 3)]
    assert sorted(lines(loss)) == sorted(
        [[(x, y + offset) for x, y in every] for offset in (0.0, 0.1, 0.2)]
    )
    assert [(e.epochs, e.valid_accuracy) for e in validated] in lines(accuracy)
    for history in (validated, *final.values()):
        assert [(e.epochs, e.train_accuracy) for e in history] in lines(accuracy)
    assert len(lines(accuracy)) == 4
    assert lines(rate) == [[(e.epochs, e.learning_rate) for e in validated]]


def test_the_figure_tells_what_it_shows(tmp_path: Path) -> None:
    final = {seed: training() for seed in range(8)}
    drawn(training(), final, tmp_path / "curves.svg")
    shown = svg_texts(tmp_path / "curves.svg")
    assert {"Learning curves: fast", "mean loss", "accuracy", "epochs"} <= set(shown)
    assert "learning rate of the epoch's last step" in shown
    assert {"train", "valid", "train, final on all images, seeds 0–7"} <= set(shown)
    assert "0.633" in shown  # the last accuracy: 0.8 - 0.5 / 3


@pytest.mark.parametrize(
    ("seeds", "words"), [([3], "seed 3"), ([4, 3], "seeds 3–4"), ([0, 2], "2 seeds")]
)
def test_the_members_are_named(tmp_path: Path, seeds: list[int], words: str) -> None:
    drawn(training(), {seed: training() for seed in seeds}, tmp_path / "curves.svg")
    assert f"train, final on all images, {words}" in svg_texts(tmp_path / "curves.svg")


def test_the_lines_differ_in_more_than_their_color(tmp_path: Path) -> None:
    figure = drawn(training(), {0: training(offset=0.1)}, tmp_path / "curves.svg")
    styles = {
        (line.get_linestyle(), line.get_marker(), line.get_linewidth())
        for line in figure.axes[1].get_lines()
    }
    assert len(styles) == 3


@pytest.mark.parametrize("epochs", [1, 1000])
def test_one_epoch_is_seen_and_a_thousand_are_not_a_row_of_dots(
    tmp_path: Path, epochs: int
) -> None:
    validated = training(epochs, metric="log_loss")
    final = {0: training(epochs), 1: training(epochs)}
    figure = drawn(validated, final, tmp_path / "curves.svg")
    for axes in figure.axes:
        for line in axes.get_lines():
            x, y = line.get_data()
            assert len(x) == epochs
            assert axes.viewLim.y0 <= min(y) and max(y) <= axes.viewLim.y1
            if epochs == 1:
                assert line.get_marker() == "o"
            elif line.get_marker() == "o":
                assert epochs / line.get_markevery() <= 20
    assert (tmp_path / "curves.svg").stat().st_size < 500_000


def test_a_metric_other_than_accuracy_has_a_panel(tmp_path: Path) -> None:
    validated = training(metric="quadratic_weighted_kappa")
    validated[1] = replace(validated[1], metric=None)
    figure = drawn(validated, {}, tmp_path / "curves.svg")
    assert len(figure.axes) == 4
    ((first, gap, last),) = lines(figure.axes[2])
    assert (first, last) == ((1.0, 3.0), (3.0, 1.0))
    assert math.isnan(gap[1])
    words = " ".join(svg_texts(tmp_path / "curves.svg"))
    assert "quadratic weighted kappa" in words
    assert "1.000" in words
    assert "final" not in words


def test_a_model_without_learning_rates_has_no_panel_of_them(tmp_path: Path) -> None:
    """A head that is fitted at once is one epoch."""
    validated = [replace(epoch, learning_rate=0.0) for epoch in training(1, metric="log_loss")]
    figure = drawn(validated, {0: validated}, tmp_path / "curves.svg")
    loss, accuracy, metric = figure.axes
    assert lines(metric) == [[(1.0, 3.0)]]
    assert [(1.0, validated[0].valid_accuracy)] in lines(accuracy)
    assert metric.get_xticks().tolist() == [1]
    assert loss.get_ylim()[0] == 0
    assert not [text for text in svg_texts(tmp_path / "curves.svg") if "rate" in text]


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    validated = [replace(epoch, metric=None) for epoch in training(metric="log_loss")]
    panels = drawn(validated, {}, tmp_path / "curves.svg").axes
    assert len({axes.get_xlim() for axes in panels}) == 1
    assert "not a finite number in any epoch" in svg_texts(tmp_path / "curves.svg")
    drawn(training(valid=False), {}, tmp_path / "curves.svg")
    shown = svg_texts(tmp_path / "curves.svg")
    assert "valid" not in shown
    assert "not a finite number in any epoch" not in shown


def test_a_loss_that_is_not_finite_hides_no_other_one(tmp_path: Path) -> None:
    validated = [replace(epoch, train_loss=math.inf) for epoch in training(1)] + training()[1:]
    axes = drawn(validated, {}, tmp_path / "curves.svg").axes[0]
    assert axes.viewLim.y1 == pytest.approx(1.0, rel=0.1)


def test_a_long_name_is_shortened(tmp_path: Path) -> None:
    run = f"fast@optimizer.lr=0.1@{'x' * 100}@<&>$y$"
    drawn(training(), {0: training()}, tmp_path / "curves.svg", run)
    (title,) = [text for text in svg_texts(tmp_path / "curves.svg") if "Learning" in text]
    assert title.startswith("Learning curves: fast@")
    assert title.endswith("@<&>$y$")


def test_the_script_reads_the_histories_and_gives_the_same_bytes_again(tmp_path: Path) -> None:
    write_history(tmp_path / "validated.csv", training())
    finals = [tmp_path / "final5.csv", tmp_path / "final6.csv"]
    for path in finals:
        write_history(path, training(valid=False, offset=0.1))
    for name in ("one", "other"):
        svg = tmp_path / f"{name}.svg"
        snakemake = SimpleNamespace(
            input=SimpleNamespace(
                validated=str(tmp_path / "validated.csv"), final=list(map(str, finals))
            ),
            output=SimpleNamespace(learning_curves=str(svg)),
            params=SimpleNamespace(options=json.dumps({"run": "d2l", "seeds": [5, 6]})),
        )
        curves.main(snakemake)
        assert {"Learning curves: d2l", "train, final on all images, seeds 5–6"} <= set(
            svg_texts(svg)
        )
    for ending in (".svg", ".png"):
        one, other = ((tmp_path / f"{name}{ending}").read_bytes() for name in ("one", "other"))
        assert one == other
