"""What a figure shows: its texts, and whether they are readable where they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from imagepipe.display.figures import styled


def svg_texts(svg: Path) -> list[str]:
    """Return the texts of an SVG file, in the order of its elements."""
    root = ElementTree.fromstring(svg.read_text(encoding="utf-8"))
    found = root.iter("{http://www.w3.org/2000/svg}text")
    return ["".join(element.itertext()) for element in found]


@contextmanager
def saved_figures() -> Iterator[list[Figure]]:
    """Give a list that gets each figure that is saved as SVG in the block."""
    figures: list[Figure] = []
    save = Figure.savefig

    def noting(figure: Figure, *arguments: object, format: str, **options: object) -> None:
        if format == "svg":
            figures.append(figure)
        save(figure, *arguments, format=format, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", noting)
        yield figures


def check_readable(figure: Figure) -> None:
    """Fail if a text is cut off at the figure's edge, lies on another, or is smaller than 8 pt."""
    drawn: list[Text] = []
    draw = Text.draw

    def noting(text: Text, *arguments: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            drawn.append(text)
        draw(text, *arguments)

    with styled(), pytest.MonkeyPatch.context() as patch:
        renderer = FigureCanvasAgg(figure).get_renderer()
        patch.setattr(Text, "draw", noting)
        figure.draw(renderer)
        boxes = {text: text.get_window_extent(renderer) for text in drawn}
    for text, box in boxes.items():
        assert text.get_fontsize() >= 8, text
        assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1, f"{text} leaves the figure"
        assert box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1, f"{text} leaves the figure"
    for (one, box), (other, other_box) in combinations(boxes.items(), 2):
        assert not box.padded(-1).overlaps(other_box.padded(-1)), f"{one} lies on {other}"
