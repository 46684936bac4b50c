"""Figures of pictures in rows and columns, each with a caption."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from imagepipe.display.colors import light
from imagepipe.display.figures import COLUMN_WIDTH, new_figure
from imagepipe.display.text import SMALL, fit

# Larger pictures are reduced, so that a file of many photos stays small.
LONGEST_SIDE = 192
# Inches.
MARGIN = 0.12
GAP = 0.12
LINE = 0.155
TITLE_HEIGHT = 0.34
# A picture is at most so many times as high as it is wide: higher ones are drawn narrower.
MAX_HEIGHT = 1.5


def draw_grid(
    pictures: Sequence[np.ndarray],
    captions: Sequence[str],
    title: str,
    columns: int = 4,
    row_titles: Sequence[str] | None = None,
) -> Figure:
    """Draw pictures row by row, each with its caption below it. Call it inside `figures.styled`.

    pictures: uint8 [H, W, 3] each, of any sizes; their pixels are drawn as squares. captions: up to
    three lines for each picture, of which the first stands out; a line that is wider than its
    picture's place is shortened. row_titles: a line above each row. Raises ValueError if pictures
    and captions, or rows and row titles, differ in number.
    """
    rows = -(-len(pictures) // columns)
    if len(captions) != len(pictures) or len(row_titles or [""] * rows) != rows:
        raise ValueError(f"{len(captions)} captions and {row_titles} for {len(pictures)} pictures")
    width = (COLUMN_WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns
    lines = [caption.split("\n") for caption in captions]
    row_title_height = LINE + 0.05 if row_titles else 0.0
    heights = []  # of each row: of its pictures and of all
    for row in range(rows):
        here = slice(row * columns, (row + 1) * columns)
        aspect = max(picture.shape[0] / picture.shape[1] for picture in pictures[here])
        picture_height = min(aspect, MAX_HEIGHT) * width
        text_height = max(map(len, lines[here])) * LINE
        heights.append((picture_height, row_title_height + picture_height + text_height + GAP))
    total = TITLE_HEIGHT + sum(height for _, height in heights) + MARGIN - GAP / 2
    figure = new_figure(height=total)
    figure.set_layout_engine("none")
    figure.text(
        MARGIN / COLUMN_WIDTH,
        1 - MARGIN / total,
        fit(title, COLUMN_WIDTH - 2 * MARGIN, 10.5),
        size=10,
        weight="bold",
        va="top",
    )
    top = total - TITLE_HEIGHT
    for row, (picture_height, row_height) in enumerate(heights):
        if row_titles:
            shown = fit(row_titles[row], COLUMN_WIDTH - 2 * MARGIN, 9)
            figure.text(MARGIN / COLUMN_WIDTH, top / total, shown, size=8.5, va="top")
        bottom = top - row_title_height - picture_height
        for column in range(min(columns, len(pictures) - row * columns)):
            i = row * columns + column
            left = MARGIN + column * (width + GAP)
            place = (
                left / COLUMN_WIDTH,
                bottom / total,
                width / COLUMN_WIDTH,
                picture_height / total,
            )
            draw_picture(figure.add_axes(place), pictures[i])
            for number, line in enumerate(lines[i]):
                figure.text(
                    left / COLUMN_WIDTH,
                    (bottom - 0.05 - number * LINE) / total,
                    fit(line, width + GAP / 3),
                    size=SMALL,
                    color=light("muted" if number else "ink"),
                    va="top",
                )
        top -= row_height
    return figure


def draw_picture(axes: Axes, picture: np.ndarray) -> None:
    """Draw a picture, uint8 [H, W, 3], at the lower left of a place that it may not fill."""
    image = Image.fromarray(picture)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    axes.imshow(np.asarray(image), interpolation="none", aspect="equal")
    axes.set_anchor("SW")
    axes.set_axis_off()
