"""The learning curves of a run: loss, accuracies, metric and learning rate over its epochs."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from imagepipe.config.metric_names import metric_words
from imagepipe.display.colors import light
from imagepipe.display.figures import COLUMN_WIDTH, new_figure, save_figure, styled
from imagepipe.display.text import fit
from imagepipe.training.history import EpochMetrics

_MARKERS = 20  # on a line
_MANY = 100  # epochs: their lines are thinner


def draw_learning_curves(
    validated: Sequence[EpochMetrics],
    final: Mapping[int, Sequence[EpochMetrics]],
    run: str,
    svg: Path,
) -> None:
    """Draw the epochs of the `validated` training, and of the `final` ones by their seeds.

    The final trainings have no validation images, so their curves are of the training images alone.
    Loss and accuracy of training images are means over the augmented batches of an epoch; the
    learning rate of an epoch is that of its last step.
    """
    own_metric = validated[0].metric_name
    heights = [2.0, 2.0, *([1.4] if own_metric else []), 1.1]
    with styled():
        figure = new_figure(height=0.9 + sum(heights))
        panels = figure.subplots(len(heights), sharex=True, height_ratios=heights)
        loss, accuracy, rate = panels[0], panels[1], panels[-1]
        for history in final.values():
            _final(loss, history, [epoch.train_loss for epoch in history])
            _final(accuracy, history, [epoch.train_accuracy for epoch in history])
        _train(loss, validated, [epoch.train_loss for epoch in validated])
        _train(accuracy, validated, [epoch.train_accuracy for epoch in validated])
        if any(epoch.valid_accuracy is not None for epoch in validated):
            _valid(accuracy, validated, [epoch.valid_accuracy for epoch in validated])
        loss.set_ylabel("mean loss")
        _from_zero(loss)
        accuracy.set_ylabel("accuracy")
        accuracy.set_ylim(0, 1.03)
        if own_metric:
            _valid(panels[2], validated, [epoch.metric for epoch in validated])
            panels[2].set_ylabel(textwrap.fill(metric_words(own_metric), 16))
        rates = [epoch.learning_rate for epoch in validated]
        _line(rate, validated, rates, color=light("series3"), linewidth=1.2)
        rate.set_ylabel("learning rate")
        _from_zero(rate)
        rate.set_xlabel("epoch (the learning rate is that of its last step)")
        rate.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(validated) == 1:
            rate.set_xticks([validated[0].epochs])
        title = fit(f"Learning curves: {run}", COLUMN_WIDTH - 0.2, 11.2)
        figure.suptitle(title, x=0.01, ha="left", size=10, weight="bold")
        _legend(loss, validated, final)
        figure.align_ylabels(panels)
        save_figure(figure, svg)


def _train(axes: Axes, history: Sequence[EpochMetrics], values: Sequence[float]) -> None:
    _line(axes, history, values, color=light("series1"), linestyle="--")


def _valid(axes: Axes, history: Sequence[EpochMetrics], values: Sequence[float | None]) -> None:
    """Draw values of the validation images, with the last one as a number at the right."""
    known = [math.nan if value is None else value for value in values]
    color = light("series2")
    every = math.ceil(len(known) / _MARKERS)
    _line(axes, history, known, color=color, marker="o", markersize=4, markevery=every)
    if math.isfinite(known[-1]):
        axes.annotate(
            f"{known[-1]:.3f}",
            (1, known[-1]),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            color=color,
            va="center",
        )


def _final(axes: Axes, history: Sequence[EpochMetrics], values: Sequence[float]) -> None:
    _line(axes, history, values, color=light("series6"), linewidth=0.8, alpha=0.6)


def _line(
    axes: Axes, history: Sequence[EpochMetrics], values: Sequence[float], **style: Any
) -> None:
    """Draw a line over the epochs. A single epoch is a dot: a line of one point has no length."""
    if len(history) == 1:
        style = {"marker": "o", "markersize": 4, **style}
    if len(history) > _MANY:
        style = {"linewidth": 1.0, **style}
    axes.plot([epoch.epochs for epoch in history], values, **style)
    if not any(map(math.isfinite, values)):
        sentence = "not a finite number in any epoch"
        style = {"color": light("muted"), "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, sentence, transform=axes.transAxes, **style)
        axes.set_yticks([])


def _from_zero(axes: Axes) -> None:
    """Let the axis begin at zero, and end a little above the highest value."""
    highest = axes.dataLim.y1
    axes.set_ylim(0, 1.06 * highest if math.isfinite(highest) and highest > 0 else 1)


def _legend(
    axes: Axes, validated: Sequence[EpochMetrics], final: Mapping[int, Sequence[EpochMetrics]]
) -> None:
    handles = [Line2D([], [], color=light("series1"), linestyle="--", label="train")]
    if any(epoch.valid_accuracy is not None for epoch in validated):
        line = Line2D([], [], color=light("series2"), marker="o", markersize=4)
        line.set_label("valid")
        handles.append(line)
    if final:
        line = Line2D([], [], color=light("series6"), linewidth=0.8, alpha=0.8)
        line.set_label(f"final, {_seeds(sorted(final))}")
        handles.append(line)
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=3)


def _seeds(seeds: Sequence[int]) -> str:
    """Return "seed 0", "seeds 0–7", or "3 seeds" if they do not follow one another."""
    first, last = seeds[0], seeds[-1]
    if len(seeds) == 1:
        return f"seed {first}"
    return f"seeds {first}–{last}" if last - first == len(seeds) - 1 else f"{len(seeds)} seeds"
