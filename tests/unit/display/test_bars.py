"""Bars in rows: what stands beside a bar belongs to it."""

import pytest

from imagepipe.display.bars import add_bar_axes
from imagepipe.display.figures import styled
from imagepipe.display.layout import MARGIN, WIDTH, titled_figure
from imagepipe.display.text import text_width


@pytest.mark.parametrize("ends", [[3.0, 1.5, 0.0], [0.0, 0.0, 0.0]])
def test_texts_stand_at_the_ends_of_their_bars(ends: list[float]) -> None:
    texts = ["three", "1,500", "none"]
    with styled():
        figure = titled_figure("Title", 2)
        axes = add_bar_axes(figure, 0.5, 0.2, ["a", "b", "a longer name"], texts, ends)
        axes.barh(range(3), ends)
        figure.draw_without_rendering()
        _, *shown = figure.texts
        for row, (text, end) in enumerate(zip(shown, ends, strict=True)):
            bar = axes.transData.transform((end, row)) / figure.dpi
            place = figure.transFigure.transform(text.get_position()) / figure.dpi
            assert text.get_text() == texts[row]
            assert place[1] == pytest.approx(bar[1])
            assert 0 < place[0] - bar[0] < 0.1
            assert place[0] + text_width(texts[row]) < MARGIN + WIDTH
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "a longer name"]
