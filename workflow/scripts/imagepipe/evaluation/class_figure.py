"""The figure of precision, recall and F1 of each class."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

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
from imagepipe.display.text import SMALL, fit, text_width
from imagepipe.evaluation.evaluation_file import Evaluation
from imagepipe.evaluation.ranking import MOST_ROWS, rest_line, worst_first

# Inches.
HEADER = LINE + 0.14
MAX_NAME = 1.3
ROW = 0.32
GAP = 0.1
AXIS = 0.24
# What is shown of a class: its words, color, marker, and distance from the middle of the row.
SHOWN = {
    "precision": ("precision", "series1", "o", -0.26),
    "recall": ("recall", "series2", "s", 0.0),
    "f1": ("F1", "series3", "D", 0.26),
}


def draw_classes(evaluation: Evaluation) -> Figure:
    """Draw precision, recall and F1 of each class with their intervals, the worst first.

    Call it inside `figures.styled`.
    """
    by_class = evaluation.by_class
    shown, rest = worst_first(by_class)[:MOST_ROWS], rest_line(by_class)
    top = TITLE_HEIGHT + HEADER
    height = ROW * len(shown)
    title = "Precision, recall and F1 by class, worst F1 first"
    figure = titled_figure(title, top + height + AXIS + MARGIN + (LINE if rest else 0))
    handles = [
        Line2D([], [], color=light(role), marker=marker, markersize=4, label=words)
        for words, role, marker, _ in SHOWN.values()
    ]
    draw_legend(figure, TITLE_HEIGHT, handles)
    names = [fit(one.name, MAX_NAME) for one in shown]
    numbers = [f"{one.images:,}" for one in shown]
    side = max(map(text_width, names)) + GAP
    number_width = max(text_width("images"), *map(text_width, numbers))
    axes = add_axes(figure, MARGIN + side, top, WIDTH - side - number_width - 2 * GAP, height)
    axes.set(xlim=(-0.01, 1.01), ylim=(len(shown) - 0.5, -0.5))
    for name, (_, role, marker, offset) in SHOWN.items():
        defined = [
            (row + offset, estimate)
            for row, one in enumerate(shown)
            if (estimate := getattr(one, name)).value is not None
        ]
        y, estimates = [y for y, _ in defined], [estimate for _, estimate in defined]
        low, high = [one.low for one in estimates], [one.high for one in estimates]
        axes.hlines(y, low, high, color=light(role), linewidth=1.2, alpha=0.6)
        values = [one.value for one in estimates]
        axes.plot(values, y, marker, color=light(role), markersize=4, clip_on=False)
    axes.set_yticks(range(len(shown)), names)
    axes.tick_params(axis="y", length=0, pad=GAP * 72 / 2)
    axes.tick_params(axis="x", length=3)
    axes.tick_params(labelsize=SMALL)
    axes.grid(axis="y", visible=False)
    axes.hlines(np.arange(len(shown) - 1) + 0.5, 0, 1, color=light("grid"), linewidth=0.6)
    axes.spines["left"].set_visible(False)
    right = MARGIN + WIDTH
    write(figure, right, top - LINE, "images", ha="right", color=light("muted"))
    for row, number in enumerate(numbers):
        write(figure, right, top + ROW * (row + 0.5), number, ha="right", va="center_baseline")
    if rest:
        write(figure, MARGIN, top + height + AXIS + 0.04, rest, color=light("muted"))
    return figure
