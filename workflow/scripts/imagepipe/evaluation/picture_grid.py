"""Figures of pictures in rows and columns, each with a caption."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from imagepipe.display.colors import light
from imagepipe.display.layout import (
    LINE,
    MARGIN,
    TITLE_HEIGHT,
    WIDTH,
    add_axes,
    titled_figure,
    write,
)
from imagepipe.display.text import fit, text_width

# Larger pictures are reduced, so that a file of many photos stays small.
LONGEST_SIDE = 192
# Inches between pictures, and between a picture and its caption.
GAP = 0.12
CAPTION_GAP = 0.05
# A caption may be so much wider than its picture.
CAPTION_MORE = 0.04
# A picture is at most so many times as high as its column is wide; a higher one is narrower.
MAX_HEIGHT = 1.5


def draw_grid(
    pictures: Sequence[np.ndarray],
    captions: Sequence[str],
    title: str,
    columns: int = 4,
    column_titles: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Figure:
    """Draw pictures row by row, each with its caption below it. Call it inside `figures.styled`.

    pictures: uint8 [H, W, 3], or [H, W, 4] with an opacity, of any sizes; their pixels are drawn as
    squares. captions: up to three lines for each picture, of which the first stands out; a line
    that is wider than its picture's place is shortened, and `caption_line` shortens a name only.
    column_titles: above the first row. notes: lines of small print at the end. Both have to fit.
    Raises ValueError if pictures and captions differ in number.
    """
    rows = range(-(-len(pictures) // columns))
    if len(captions) != len(pictures):
        raise ValueError(f"{len(captions)} captions for {len(pictures)} pictures")
    width = _column_width(columns)
    lines = [caption.split("\n") for caption in captions]
    of_row = [slice(row * columns, (row + 1) * columns) for row in rows]
    heights = [  # of the pictures of each row
        min(MAX_HEIGHT, max(one.shape[0] / one.shape[1] for one in pictures[here])) * width
        for here in of_row
    ]
    spaces = [  # of all else of each row
        CAPTION_GAP + max(map(len, lines[here])) * LINE + GAP for here in of_row
    ]
    head = TITLE_HEIGHT + (LINE + CAPTION_GAP if column_titles else 0.0)
    end = head + sum(heights) + sum(spaces)
    figure = titled_figure(title, end + len(notes) * LINE)
    for column, column_title in enumerate(column_titles):
        write(figure, MARGIN + column * (width + GAP), TITLE_HEIGHT, column_title, weight="bold")
    for number, note in enumerate(notes):
        write(figure, MARGIN, end - CAPTION_GAP + number * LINE, note, color=light("muted"))
    top = head
    for row in rows:
        caption_top = top + heights[row] + CAPTION_GAP
        for column, i in enumerate(range(len(pictures))[of_row[row]]):
            left = MARGIN + column * (width + GAP)
            draw_picture(add_axes(figure, left, top, width, heights[row]), pictures[i])
            for number, line in enumerate(lines[i]):
                color = light("muted" if number else "ink")
                shown = fit(line, width + CAPTION_MORE)
                write(figure, left, caption_top + number * LINE, shown, color=color)
        top += heights[row] + spaces[row]
    return figure


def caption_line(name: str, before: str = "", after: str = "", columns: int = 4) -> str:
    """Return a line of a caption with a foreign name, which alone is shortened if there is need.

    before, after: what stands around it, such as "→ " and " 93 %". Call it inside `figures.styled`.
    """
    room = _column_width(columns) + CAPTION_MORE - text_width(before) - text_width(after)
    return f"{before}{fit(name, room)}{after}"


def _column_width(columns: int) -> float:
    return (WIDTH - (columns - 1) * GAP) / columns


def draw_picture(axes: Axes, picture: np.ndarray) -> None:
    """Draw a picture, uint8 [H, W, 3], at the lower left of a place that it may not fill."""
    image = Image.fromarray(picture)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    axes.imshow(np.asarray(image), interpolation="none", aspect="equal")
    axes.set_anchor("SW")
    axes.set_axis_off()
