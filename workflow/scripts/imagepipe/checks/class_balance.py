"""The figure of the classes' sizes: their images in train and valid."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import StrMethodFormatter

from imagepipe.checks.data_report import Report
from imagepipe.display.bars import add_bar_axes
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
from imagepipe.display.sentence import draw_sentence
from imagepipe.display.text import SMALL, fit, text_width

TITLE = "Images of each class"
# More classes are a curve.
MAX_BARS = 30
# The axis is logarithmic if the largest class has more than so many times the smallest's images.
WIDE = 20
# Inches.
LEGEND = LINE + 0.1
ROW = 0.2
MAX_NAME = 1.5
GAP = 0.1
NUMBERS = 0.6
CURVE_HEIGHT = 1.9
AXIS = 0.42


class Size(NamedTuple):
    """The images of a class."""

    name: str
    train: int
    valid: int

    @property
    def images(self) -> int:
        """Those of train and valid together."""
        return self.train + self.valid


def draw_class_balance(report: Report, svg: Path) -> None:
    """Draw the numbers of train and valid images of each class of a data report.

    Up to `MAX_BARS` classes are bars in the report's order, more are a curve from the largest to
    the smallest. An image of several classes counts for each of them.
    """
    sizes = [Size(one["class"], one["train"], one["valid"]) for one in report["classes"]]
    with styled():
        if not sizes:
            figure = draw_sentence("There are no classes.", TITLE)
        else:
            figure = _draw_bars(sizes) if len(sizes) <= MAX_BARS else _draw_curve(sizes)
        save_figure(figure, svg)


def _draw_bars(sizes: Sequence[Size]) -> Figure:
    top, rows = TITLE_HEIGHT + LEGEND, range(len(sizes))
    figure = titled_figure(TITLE, top + ROW * len(sizes) + MARGIN)
    names = [fit(one.name, MAX_NAME) for one in sizes]
    numbers = [f"{one.train:,} + {one.valid:,}" for one in sizes]
    axes = add_bar_axes(figure, top, ROW, names, numbers, [one.images for one in sizes])
    train, valid = [one.train for one in sizes], [one.valid for one in sizes]
    first, second, edge = light("series1"), light("series2"), light("surface")
    axes.barh(rows, train, 0.7, color=first, edgecolor=edge)
    axes.barh(rows, valid, 0.7, train, color=second, edgecolor=edge)
    handles = [Patch(color=first, label="train"), Patch(color=second, label="+ valid")]
    draw_legend(figure, TITLE_HEIGHT, handles)
    return figure


def _draw_curve(sizes: Sequence[Size]) -> Figure:
    by_size = sorted(sizes, key=lambda one: -one.images)
    largest, smallest = by_size[0], by_size[-1]
    top = TITLE_HEIGHT + LEGEND + 2 * LINE + 0.1
    title = f"{TITLE}: {len(sizes):,} classes by size"
    figure = titled_figure(title, top + CURVE_HEIGHT + AXIS)
    for number, (word, one) in enumerate((("largest", largest), ("smallest", smallest))):
        before, after = f"{word}: ", f", {one.images:,} images"
        name = fit(one.name, WIDTH - text_width(before + after))
        place = TITLE_HEIGHT + LEGEND + number * LINE
        write(figure, MARGIN, place, before + name + after)
    axes = add_axes(figure, MARGIN + NUMBERS, top, WIDTH - NUMBERS - GAP, CURVE_HEIGHT)
    ranks = range(1, len(sizes) + 1)
    images, valid = [one.images for one in by_size], [one.valid for one in by_size]
    handles = [
        *axes.plot(ranks, images, color=light("series1"), label="train + valid"),
        *axes.plot(ranks, valid, color=light("series2"), linewidth=0.8, label="valid"),
    ]
    draw_legend(figure, TITLE_HEIGHT, handles)
    axes.set_xlim(1, len(sizes))
    if largest.images > WIDE * smallest.images:
        # Linear from 0 to 1, as a class may have no images.
        axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.tick_params(labelsize=SMALL)
    axes.set_xlabel("classes, the largest first", size=SMALL)
    return figure
