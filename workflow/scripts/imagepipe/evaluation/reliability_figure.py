"""The reliability diagram: accuracy by confidence."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from imagepipe.display.colors import light
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
from imagepipe.evaluation.evaluation_file import Calibration, Evaluation
from imagepipe.evaluation.intervals import wilson

# Inches.
HEADER = 2 * LINE + 0.16
LEFT = 0.5
DIAGRAM, HISTOGRAM = 2.3, 0.7
BETWEEN, BELOW = 0.14, 0.45
# The part of a bin that its bar fills.
BAR = 0.86


def draw_reliability(evaluation: Evaluation) -> Figure:
    """Draw accuracy and confidence of each bin, and below them the predictions in each bin.

    Call it inside `figures.styled`.
    """
    calibration, several = evaluation.calibration, evaluation.several_labels
    top = TITLE_HEIGHT + HEADER
    figure = titled_figure("Confidence and accuracy", top + DIAGRAM + BETWEEN + HISTOGRAM + BELOW)
    accuracy = "fraction with the class" if several else "accuracy"
    confidence = "probability" if several else "confidence"
    numbers = (
        f"ECE {calibration.ece:.3f} · mean {confidence} {calibration.mean_confidence:.3f} · "
        f"{accuracy} {calibration.accuracy:.3f}"
    )
    write(figure, MARGIN, TITLE_HEIGHT, numbers)
    handles = [
        Patch(facecolor=light("accent"), alpha=0.55, linewidth=0, label=accuracy),
        Patch(facecolor="none", edgecolor=light("bad"), label="gap"),
        Line2D([], [], color=light("ink"), linewidth=0.9, label="95 % interval"),
        Line2D([], [], color=light("muted"), linewidth=1, linestyle="--", label="no gap"),
    ]
    draw_legend(figure, TITLE_HEIGHT + LINE + 0.03, handles)
    width = WIDTH - LEFT
    diagram = add_axes(figure, MARGIN + LEFT, top, width, DIAGRAM)
    _draw_diagram(diagram, calibration)
    histogram = add_axes(figure, MARGIN + LEFT, top + DIAGRAM + BETWEEN, width, HISTOGRAM)
    _draw_histogram(histogram, calibration)
    diagram.set_ylabel(accuracy)
    histogram.set_ylabel("share")
    histogram.set_xlabel(f"probability of {'a' if several else 'the likeliest'} class")
    for axes in (diagram, histogram):
        axes.yaxis.set_label_coords(-0.42 / width, 0.5)
        axes.set_xlim(0, 1)
        axes.tick_params(labelsize=SMALL)
    return figure


def _draw_diagram(axes: Axes, calibration: Calibration) -> None:
    axes.set_ylim(0, 1)
    axes.tick_params(labelbottom=False)
    filled = [one for one in calibration.bins if one.predictions]
    middle = [(one.low + one.high) / 2 for one in filled]
    accuracy = np.array([one.accuracy for one in filled])
    predictions = np.array([one.predictions for one in filled])
    gap = [one.confidence for one in filled] - accuracy
    width = BAR / len(calibration.bins)
    # The grid does not shine through the bars.
    axes.bar(middle, accuracy, width, color=light("surface"), linewidth=0)
    axes.bar(middle, accuracy, width, color=light("accent"), alpha=0.55, linewidth=0)
    axes.bar(middle, gap, width, accuracy, facecolor="none", edgecolor=light("bad"))
    _, low, high = wilson(np.round(accuracy * predictions), predictions)
    axes.vlines(middle, low, high, color=light("ink"), linewidth=0.9)
    axes.plot([0, 1], [0, 1], color=light("muted"), linewidth=1, linestyle="--")


def _draw_histogram(axes: Axes, calibration: Calibration) -> None:
    total = sum(one.predictions for one in calibration.bins)
    shares = [one.predictions / total for one in calibration.bins]
    width = 1 / len(shares)
    middles = [(one.low + one.high) / 2 for one in calibration.bins]
    axes.bar(middles, shares, BAR * width, color=light("muted"), alpha=0.7, linewidth=0)
    axes.set_ylim(0, max(shares) * 1.05)
    axes.grid(False)
    axes.yaxis.set_major_locator(MaxNLocator(2))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
