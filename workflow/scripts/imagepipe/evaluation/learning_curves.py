"""The learning curves of a run: loss, accuracies, metric and learning rate over its epochs."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from imagepipe.config.metric_names import metric_words
from imagepipe.display.colors import light
from imagepipe.display.figures import save_figure, styled
from imagepipe.display.layout import (
    LINE,
    MARGIN,
    TITLE_HEIGHT,
    WIDTH,
    add_axes,
    draw_legend,
    titled_figure,
    write,
)
from imagepipe.display.text import SMALL
from imagepipe.training.history import EpochMetrics

# Inches.
LEFT = 0.45  # for the numbers of the vertical axes
RIGHT = 0.4  # for the last values
LEGEND = LINE + 0.08
GAP = 0.16
AXIS = 0.36
LOSS, ACCURACY, LR = "mean loss", "accuracy", "learning rate of the epoch's last step"
HEIGHTS = {LOSS: 1.8, ACCURACY: 1.8, LR: 0.7}
METRIC_HEIGHT = 1.2
MARKERS = 20  # on a line
MANY = 100  # epochs: their lines are thinner


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
    metric = validated[0].metric_name
    rates = [epoch.learning_rate for epoch in validated]
    below = metric_words(metric) if metric else None
    names = [LOSS, ACCURACY, *([below] if below else []), *([LR] if any(rates) else [])]
    heights = {name: HEIGHTS.get(name, METRIC_HEIGHT) for name in names}
    top = TITLE_HEIGHT + LEGEND
    with styled():
        all_height = top + sum(heights.values()) + (LINE + GAP) * len(heights) + AXIS
        figure = titled_figure(f"Learning curves: {run}", all_height)
        draw_legend(figure, TITLE_HEIGHT, _handles(validated, final))
        panels = {}
        for name in names:
            write(figure, MARGIN, top, name)
            place = (MARGIN + LEFT, top + LINE + 0.04, WIDTH - LEFT - RIGHT, heights[name])
            panels[name] = add_axes(figure, *place)
            _scale(panels[name], is_high=heights[name] > 1)
            top += LINE + heights[name] + GAP
        for history in final.values():
            _final(panels[LOSS], history, [epoch.train_loss for epoch in history])
            _final(panels[ACCURACY], history, [epoch.train_accuracy for epoch in history])
        _train(panels[LOSS], validated, [epoch.train_loss for epoch in validated])
        _train(panels[ACCURACY], validated, [epoch.train_accuracy for epoch in validated])
        if any(epoch.valid_accuracy is not None for epoch in validated):
            _valid(panels[ACCURACY], validated, [epoch.valid_accuracy for epoch in validated])
        if below:
            _valid(panels[below], validated, [epoch.metric for epoch in validated])
        # A model that is not trained by steps has no rates.
        if any(rates):
            _line(panels[LR], validated, rates, color=light("series3"), linewidth=1.2)
            _start_at_zero(panels[LR])
        *above, lowest = panels.values()
        for axes in above:
            axes.sharex(lowest)
            axes.tick_params(labelbottom=False)
        panels[ACCURACY].set_ylim(0, 1.03)
        _start_at_zero(panels[LOSS])
        if len(validated) == 1:
            lowest.set_xticks([validated[0].epochs])
        lowest.set_xlabel("epochs", size=SMALL)
        save_figure(figure, svg)


def _handles(
    validated: Sequence[EpochMetrics], final: Mapping[int, Sequence[EpochMetrics]]
) -> list[Line2D]:
    handles = [Line2D([], [], color=light("series1"), linestyle="--", label="train")]
    if any(epoch.valid_accuracy is not None for epoch in validated):
        color = light("series2")
        handles.append(Line2D([], [], color=color, marker="o", markersize=4, label="valid"))
    if final:
        label = f"train, final on all images, {_seeds(sorted(final))}"
        handles.append(Line2D([], [], color=light("series6"), linewidth=0.8, label=label))
    return handles


def _seeds(seeds: Sequence[int]) -> str:
    """Return "seed 0", "seeds 0–7", or "3 seeds" if they do not follow one another."""
    first, last = seeds[0], seeds[-1]
    if len(seeds) == 1:
        return f"seed {first}"
    return f"seeds {first}–{last}" if last - first == len(seeds) - 1 else f"{len(seeds)} seeds"


def _scale(axes: Axes, *, is_high: bool) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5 if is_high else 3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(labelsize=SMALL, length=3)


def _train(axes: Axes, history: Sequence[EpochMetrics], values: Sequence[float]) -> None:
    _line(axes, history, values, color=light("series1"), linestyle="--")


def _valid(axes: Axes, history: Sequence[EpochMetrics], values: Sequence[float | None]) -> None:
    """Draw values of the validation images, with the last one as a number at the right."""
    known = [math.nan if value is None else value for value in values]
    color = light("series2")
    every = math.ceil(len(known) / MARKERS)
    _line(axes, history, known, color=color, marker="o", markersize=4, markevery=every)
    if math.isfinite(known[-1]):
        place, last = axes.get_yaxis_transform(), known[-1]
        axes.text(1.01, last, f"{last:.3f}", color=color, va="center", size=SMALL, transform=place)


def _final(axes: Axes, history: Sequence[EpochMetrics], values: Sequence[float]) -> None:
    _line(axes, history, values, color=light("series6"), linewidth=0.8, alpha=0.6)


def _line(
    axes: Axes, history: Sequence[EpochMetrics], values: Sequence[float], **style: Any
) -> None:
    """Draw a line over the epochs. A single epoch is a dot: a line of one point has no length."""
    if len(history) == 1:
        style = {"marker": "o", "markersize": 4, **style}
    if len(history) > MANY:
        style = {"linewidth": 1.0, **style}
    axes.plot([epoch.epochs for epoch in history], values, **style)
    if not any(map(math.isfinite, values)):
        style = {"color": light("muted"), "ha": "center", "va": "center", "size": SMALL}
        words = "not a finite number in any epoch"
        axes.set_yticks([])
        axes.text(0.5, 0.5, words, transform=axes.transAxes, **style)


def _start_at_zero(axes: Axes) -> None:
    """Let the axis begin at zero, and end a little above the highest value."""
    highest = axes.dataLim.y1
    axes.set_ylim(0, 1.06 * highest if highest > 0 else 1)
