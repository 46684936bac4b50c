"""The figure of the classes that are taken for others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from imagepipe.display.bars import add_bar_axes
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
from imagepipe.display.sentence import draw_sentence
from imagepipe.display.text import SMALL, fit, text_width
from imagepipe.evaluation.evaluation_file import ClassResult, ConfusedPair, Evaluation
from imagepipe.evaluation.ranking import MOST_ROWS, rest_line, worst_first

# Inches.
HEADER = LINE + 0.1
MAX_NAME = 1.05
MAX_CELL = (1.3, 0.5)
TWO_LINES = 0.32
ROW = 0.22
# The room for the shortest bars of pairs, and for their texts.
SHORTEST = 1.6
# The part of a row that a bar fills.
BAR = 0.62
# The color of a cell without images.
EMPTY = to_rgba(light("grid"), 0.35)


def draw_confusion(evaluation: Evaluation) -> Figure:
    """Draw the confusion matrix or, of many classes, the most confused pairs.

    Of several labels, it is how often each class is found, missed and wrongly predicted. Call it
    inside `figures.styled`.
    """
    if evaluation.several_labels:
        return _draw_outcomes(evaluation.by_class)
    if evaluation.confusion is not None:
        return _draw_matrix(np.array(evaluation.confusion), evaluation.classes)
    if not evaluation.confused:
        images = f"the {evaluation.images:,} validation images"
        return draw_sentence(f"No class is taken for another in {images}.", "Confused classes")
    return _draw_pairs(evaluation.confused)


def _draw_matrix(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw counts, int [C, C], a row for each true class, a column for each predicted one."""
    names = [fit(name, MAX_NAME) for name in classes]
    longest = max(map(text_width, names))
    side = LINE + longest + 0.1
    cell_width = min(MAX_CELL[0], (WIDTH - side) / len(classes))
    cell_height = min(MAX_CELL[1], cell_width)
    is_upright = longest > cell_width - 0.06
    below = 0.06 + (longest if is_upright else LINE) + LINE + MARGIN
    width, height = cell_width * len(classes), cell_height * len(classes)
    top = TITLE_HEIGHT + HEADER
    figure = titled_figure("Confusion matrix", top + height + below)
    axes = add_axes(figure, MARGIN + side, top, width, height)
    axes.set(xlim=(0, len(classes)), ylim=(len(classes), 0))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    middles = np.arange(len(classes)) + 0.5
    axes.set_xticks(middles, names, rotation=90 if is_upright else 0)
    axes.set_yticks(middles, names)
    axes.tick_params(length=0, labelsize=SMALL)
    muted = light("muted")
    middle, bottom = MARGIN + side + width / 2, top + height + below - MARGIN
    write(figure, middle, bottom, "predicted", ha="center", va="bottom", color=muted)
    write(figure, MARGIN, top + height / 2, "true", rotation=90, va="center", color=muted)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    _shade(axes, shares)
    words = _write_numbers(axes, counts, shares, cell_width, cell_height)
    write(figure, MARGIN, TITLE_HEIGHT, words, color=muted)
    return figure


def _shade(axes: Axes, shares: np.ndarray) -> None:
    squares, colors = [], []
    for (row, column), share in np.ndenumerate(shares):
        x, y, inset = column, row, 0.03
        corners = [(0, 0), (1, 0), (1, 1), (0, 1)]
        squares.append([(x + abs(i - inset), y + abs(j - inset)) for i, j in corners])
        role = "accent" if row == column else "bad"
        # The ink is readable on the darkest shade, on a light page and on a dark one.
        colors.append(to_rgba(light(role), 0.08 + 0.47 * share) if share else EMPTY)
    axes.add_collection(PolyCollection(squares, facecolors=colors, linewidths=0))


def _write_numbers(
    axes: Axes, counts: np.ndarray, shares: np.ndarray, width: float, height: float
) -> str:
    """Write what has room in the cells, whose size is in inches; return what it is."""
    numbers = [[f"{one:,}" for one in row] for row in counts]
    parts = [[f"{one:.2f}" for one in row] for row in shares]
    widest, widest_part = (
        max(text_width(text) for row in texts for text in row) + 0.04 for texts in (numbers, parts)
    )
    if widest > width:
        # One digit or two. Beside a 100, which is wider, the cells are empty.
        texts = [[f"{100 * one:.0f}" if one >= 0.005 else "" for one in row] for row in shares]
        words = "The percentage of the true class."
    elif widest_part <= width and height >= TWO_LINES:
        texts = [
            [f"{number}\n{part}" for number, part in zip(*rows, strict=True)]
            for rows in zip(numbers, parts, strict=True)
        ]
        words = "The number of images, and the share of the true class."
    else:
        texts, words = numbers, "The number of images. The shade is the share of the true class."
    for row, column in np.argwhere(counts):
        axes.text(
            column + 0.5,
            row + 0.5,
            texts[row][column],
            size=SMALL,
            ha="center",
            va="center_baseline" if "\n" not in texts[row][column] else "center",
            linespacing=1.15,
        )
    return words


def _draw_pairs(pairs: Sequence[ConfusedPair]) -> Figure:
    """Draw a bar for each pair: the images of the one class that were taken for the other."""
    top = TITLE_HEIGHT + HEADER
    figure = titled_figure("The most confused classes", top + ROW * len(pairs) + MARGIN)
    words = "true → predicted, images, and their share of the true class"
    write(figure, MARGIN, TITLE_HEIGHT, words, color=light("muted"))
    arrow = " → "
    longest = (WIDTH - SHORTEST - text_width(arrow)) / 2
    names = [f"{fit(one.true, longest)}{arrow}{fit(one.predicted, longest)}" for one in pairs]
    texts = [f"{one.images:,} ({100 * one.share:.0f} %)" for one in pairs]
    images = [one.images for one in pairs]
    axes = add_bar_axes(figure, top, ROW, names, texts, images)
    axes.barh(range(len(pairs)), images, BAR, color=light("bad"), alpha=0.75, linewidth=0)
    return figure


def _draw_outcomes(by_class: Sequence[ClassResult]) -> Figure:
    """Draw a bar for each class: the images that have it or were taken to have it."""
    shown, rest = worst_first(by_class)[:MOST_ROWS], rest_line(by_class)
    top = TITLE_HEIGHT + 2 * LINE + 0.16
    below = MARGIN + (LINE if rest else 0)
    figure = titled_figure("Found, missed and wrong by class", top + ROW * len(shown) + below)
    words = "images that have the class or were taken to have it, worst F1 first"
    write(figure, MARGIN, TITLE_HEIGHT, words, color=light("muted"))
    kinds: list[dict[str, Any]] = [
        {"facecolor": to_rgba(light("accent"), 0.75), "label": "found"},
        {"facecolor": to_rgba(light("bad"), 0.35), "label": "missed"},
        {"facecolor": "none", "edgecolor": light("bad"), "label": "wrongly predicted"},
    ]
    draw_legend(figure, TITLE_HEIGHT + LINE + 0.03, [Patch(**kind) for kind in kinds])
    names = [fit(one.name, MAX_NAME + 0.4) for one in shown]
    counts = np.array(
        [(one.hits, one.images - one.hits, one.predicted - one.hits) for one in shown]
    )
    texts = [" + ".join(f"{one:,}" for one in row) for row in counts]
    axes = add_bar_axes(figure, top, ROW, names, texts, [1] * len(shown))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    lefts = np.cumsum(shares, axis=1) - shares
    for kind, left, share in zip(kinds, lefts.T, shares.T, strict=True):
        axes.barh(range(len(shown)), share, BAR, left, linewidth=0.8, **kind)
    if rest:
        write(figure, MARGIN, top + ROW * len(shown) + 0.04, rest, color=light("muted"))
    return figure
