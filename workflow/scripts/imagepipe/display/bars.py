"""Figures with a row for each bar: a name at its left, and a text at its end."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imagepipe.display.layout import MARGIN, WIDTH, add_axes, write
from imagepipe.display.text import SMALL, text_width

GAP = 0.1  # inches


def add_bar_axes(
    figure: Figure,
    top: float,
    row_height: float,
    names: Sequence[str],
    texts: Sequence[str],
    ends: Sequence[float],
) -> Axes:
    """Return axes for bars in rows, the first at the top, and write names and texts beside them.

    The axes are `row_height` inches for each row high, and begin at `top`, in inches. ends: the
    bars' lengths, of which the longest has all the width between the names and its text.
    """
    side = max(map(text_width, names)) + GAP
    width = WIDTH - side - max(map(text_width, texts)) - GAP
    axes = add_axes(figure, MARGIN + side, top, width, row_height * len(names))
    longest = max(ends) or 1
    axes.set_xlim(0, longest)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=SMALL, pad=GAP * 72 / 2)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.spines["left"].set_visible(True)
    for row, (text, end) in enumerate(zip(texts, ends, strict=True)):
        left = MARGIN + side + width * end / longest + GAP / 2
        write(figure, left, top + (row + 0.5) * row_height, text, va="center_baseline")
    return axes
