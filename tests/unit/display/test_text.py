"""Foreign text in figures is on one line, printable, and as short as its place."""

import string
from collections.abc import Iterator

import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from imagepipe.display.figures import styled
from imagepipe.display.text import fit, shorten, text_width


@pytest.fixture(autouse=True)
def in_style() -> Iterator[None]:
    with styled():
        yield


def test_a_short_text_stays() -> None:
    assert shorten("golden retriever", 16) == "golden retriever"
    assert fit("golden retriever", 2.0) == "golden retriever"


def test_what_is_left_out_is_in_the_middle() -> None:
    assert shorten("n02093256-Staffordshire_bullterrier", 15) == "n02093256-…rier"


@pytest.mark.parametrize("limit", range(3, 40))
def test_no_more_letters_than_the_limit(limit: int) -> None:
    text = shorten("a b " * 100, limit)
    assert len(text) <= limit
    assert "…" in text


def test_control_characters_and_lines_do_not_reach_a_figure() -> None:
    assert shorten("a\nb\t\x1b[31mred\x00", 50) == r"a b \x1b[31mred\x00"
    # This one turns the direction of the text that follows.
    assert "\u202e" not in fit("\u202eright", 3.0)


@pytest.mark.parametrize("name", ["W" * 300, "il" * 200, "قط عربي" * 50, "猫" * 300, "😀👩" * 99])
@pytest.mark.parametrize("width", [0.5, 1.1, 3.0])
def test_a_text_is_not_wider_than_its_place(name: str, width: float) -> None:
    shown = fit(name, width)
    assert 3 <= len(shown) < len(name)
    assert text_width(shown) <= width
    # A letter or two more would not have had room.
    assert text_width(shown + name[0] * 3) > width * 0.9


def test_widths_are_those_of_the_drawn_text() -> None:
    text = string.ascii_letters + string.digits
    drawn = TextPath((0, 0), text, prop=FontProperties(size=8)).get_extents().width / 72
    assert text_width(text, 8) == pytest.approx(drawn, rel=0.02)
    assert text_width(text, 16) == pytest.approx(2 * text_width(text, 8))
