"""Parts of a figure are where they are said to be."""

import pytest
from matplotlib.lines import Line2D

from imagepipe.display.figures import COLUMN_WIDTH, styled
from imagepipe.display.layout import WIDTH, add_axes, draw_legend, titled_figure, write
from imagepipe.display.text import text_width


def test_places_are_inches_from_the_top_left() -> None:
    with styled():
        figure = titled_figure("Title", 4.0)
        axes = add_axes(figure, 1.0, 0.5, 2.0, 1.5)
        write(figure, 1.0, 0.5, "text")
    box = axes.get_position()
    assert (box.x0 * COLUMN_WIDTH, (1 - box.y1) * 4.0) == pytest.approx((1.0, 0.5))
    assert (box.width * COLUMN_WIDTH, box.height * 4.0) == pytest.approx((2.0, 1.5))
    assert figure.texts[-1].get_position() == pytest.approx((1 / COLUMN_WIDTH, 1 - 0.5 / 4))


def test_a_long_title_has_room() -> None:
    with styled():
        (title,) = titled_figure("W" * 300, 2.0).texts
        assert text_width(title.get_text(), 10) <= WIDTH


def test_a_legend_has_one_line() -> None:
    with styled():
        figure = titled_figure("Title", 2.0)
        draw_legend(figure, 0.4, [Line2D([], [], label=name) for name in "abcd"])
        figure.draw_without_rendering()
    assert len({round(text.get_window_extent().y0) for text in figure.legends[0].texts}) == 1
