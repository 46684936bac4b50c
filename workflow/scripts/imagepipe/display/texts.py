"""Texts in figures: labels from outside, and figures that have nothing to show."""

import textwrap
from pathlib import Path

from matplotlib.figure import Figure

from imagepipe.display import colors
from imagepipe.display.figures import new_figure, save_figure, styled
from imagepipe.errors import one_line

_SENTENCE_WIDTH = 64  # characters of a line in a figure of `COLUMN_WIDTH`


def short(text: str, limit: int) -> str:
    """Return foreign text as a label: one line of at most `limit` characters, all printable.

    A long text loses its middle, as names often differ at their end.
    """
    label = one_line(text)
    if len(label) <= limit:
        return label
    end = (limit - 1) // 3
    return f"{label[: limit - 1 - end]}…{label[len(label) - end :]}"


def set_title(figure: Figure, title: str) -> None:
    """Write a title above a figure of several panels, in the style of a panel's title."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")


def draw_sentence(svg: Path, title: str, sentence: str) -> None:
    """Write a figure that has nothing to show but a sentence, which says why."""
    lines = textwrap.wrap(sentence, _SENTENCE_WIDTH)
    with styled():
        figure = new_figure(height=0.6 + 0.18 * len(lines))
        set_title(figure, title)
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.text(0, 0.5, "\n".join(lines), color=colors.light("muted"), va="center")
        save_figure(figure, svg)
