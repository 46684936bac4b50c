"""The figure of precision, recall and F1 of each class."""

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
ROW = 0.36
GAP = 0.1
AXIS = 0.24
# The figures of a class: color, marker, and distance from the middle of its row.
FIGURES = {
    "precision": ("series1", "o", -0.26),
    "recall": ("series2", "s", 0.0),
    "f1": ("series3", "D", 0.26),
}
WORDS = {"f1": "F1"}


def draw_classes(evaluation: Evaluation) -> Figure:
    """Draw the figures of each class with their intervals, the worst first.

    Call it inside `figures.styled`.
    """
    by_class = evaluation.by_class
    shown, rest = worst_first(by_class)[:MOST_ROWS], rest_line(by_class)
    top = TITLE_HEIGHT + HEADER
    height = ROW * len(shown)
    title = "Precision, recall and F1 by class, worst F1 first"
    figure = titled_figure(title, top + height + AXIS + MARGIN + (LINE if rest else 0))
    handles = [
        Line2D([], [], color=light(role), marker=marker, markersize=4, label=WORDS.get(name, name))
        for name, (role, marker, _) in FIGURES.items()
    ]
    draw_legend(figure, TITLE_HEIGHT, handles)
    names = [fit(one.name, MAX_NAME) for one in shown]
    numbers = [f"{one.images:,}" for one in shown]
    side = max(map(text_width, names)) + GAP
    number_width = max(text_width("images"), *map(text_width, numbers))
    axes = add_axes(figure, MARGIN + side, top, WIDTH - side - number_width - 2 * GAP, height)
    axes.set(xlim=(-0.01, 1.01), ylim=(len(shown) - 0.5, -0.5))
    for name, (role, marker, offset) in FIGURES.items():
        color = light(role)
        here = [
            (place + offset, figures)
            for place, one in enumerate(shown)
            if (figures := getattr(one, name)).value is not None
        ]
        y = [place for place, _ in here]
        low, high = ([getattr(figures, end) for _, figures in here] for end in ("low", "high"))
        axes.hlines(y, low, high, color=color, linewidth=1.2, alpha=0.6)
        values = [figures.value for _, figures in here]
        axes.plot(values, y, linestyle="none", marker=marker, markersize=4, color=color)
    axes.set_yticks(range(len(shown)), names)
    axes.tick_params(axis="y", length=0, pad=GAP * 72 / 2)
    axes.tick_params(axis="x", length=3)
    axes.tick_params(labelsize=SMALL)
    axes.grid(axis="y", visible=False)
    axes.hlines(
        [place + 0.5 for place in range(len(shown) - 1)], 0, 1, color=light("grid"), linewidth=0.6
    )
    axes.spines["left"].set_visible(False)
    right = MARGIN + WIDTH
    write(figure, right, top - LINE, "images", ha="right", color=light("muted"))
    for place, number in enumerate(numbers):
        write(figure, right, top + ROW * (place + 0.5), number, ha="right", va="center_baseline")
    if rest:
        write(figure, MARGIN, top + height + AXIS + 0.04, rest, color=light("muted"))
    return figure
