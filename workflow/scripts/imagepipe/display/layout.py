"""Figures whose parts are placed by the inch, from the top left corner.

Text of any length then stays in its place, parts are aligned, and no layout has to be searched for.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imagepipe.display.figures import COLUMN_WIDTH, new_figure
from imagepipe.display.text import SMALL, fit

# Inches.
MARGIN = 0.12
WIDTH = COLUMN_WIDTH - 2 * MARGIN
TITLE_HEIGHT = 0.36
LINE = 0.16  # of small text


def titled_figure(title: str, height: float) -> Figure:
    """Return a figure of the width `COLUMN_WIDTH` with a title. Call it inside `styled`.

    height: that of all, in inches; the title takes `TITLE_HEIGHT` of it.
    """
    figure = new_figure(height=height)
    figure.set_layout_engine("none")
    write_title(figure, 0, title)
    return figure


def write_title(figure: Figure, top: float, title: str) -> None:
    """Write the title of a part of a figure, which begins at `top`, in inches.

    The title takes `TITLE_HEIGHT`.
    """
    # Bold letters are about a tenth wider than those that `fit` measures.
    write(figure, MARGIN, top + MARGIN, fit(title, WIDTH, 11), size=10, weight="bold")


def add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return new axes at a place in inches from the top left corner."""
    all_width, all_height = figure.get_size_inches()
    bottom = 1 - (top + height) / all_height
    place = (left / all_width, bottom, width / all_width, height / all_height)
    return figure.add_axes(place)


def write(figure: Figure, left: float, top: float, text: str, **style: Any) -> None:
    """Write a line of text, at its top, at a place in inches from the top left corner."""
    width, height = figure.get_size_inches()
    style.setdefault("size", SMALL)
    style.setdefault("va", "top")
    figure.text(left / width, 1 - top / height, text, **style)


def draw_legend(figure: Figure, top: float, handles: Sequence[Artist]) -> None:
    """Draw a legend in one line, at a distance in inches from the figure's top."""
    width, height = figure.get_size_inches()
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(MARGIN / width, 1 - top / height),
        ncols=len(handles),
        fontsize=SMALL,
        borderpad=0,
        borderaxespad=0,
        columnspacing=1.2,
        handlelength=1.5,
        handletextpad=0.5,
    )
