"""Foreign text in figures, such as the names of classes: on one line, and as short as its place."""

from functools import cache

from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font

from imagepipe.display.escaping import shorten as shorten

# Text of figures, in points, where it is not a title. Smaller text is hard to read on a phone.
SMALL = 8.0


def fit(text: str, width: float, size: float = SMALL) -> str:
    """Return foreign text as by `shorten`, not wider than `width` inches at a font size in points.

    At least three characters stay. Call it inside `figures.styled`.
    """
    # No letter is narrower than a fifth of its height, so no more of them have room.
    limit = max(3, int(width * 72 / size * 5))
    shown = shorten(text, limit)
    while len(shown) > 3 and text_width(shown, size) > width:
        shown = shorten(text, len(shown) - 1)
    return shown


def text_width(text: str, size: float = SMALL) -> float:
    """Return the width of a line of text in inches. Call it inside `figures.styled`."""
    return sum(map(_letter_width, text)) * size / 72


@cache
def _letter_width(letter: str) -> float:
    """Return a letter's width as a fraction of the font's size."""
    font = _font()
    if not font.get_char_index(ord(letter)):
        return 1.3  # That of the sign that stands for it in the PNG file.
    return float(font.load_char(ord(letter)).linearHoriAdvance / 65536 / _MEASURED_SIZE)


_MEASURED_SIZE = 100


@cache
def _font() -> FT2Font:
    # Not matplotlib's `get_font`: whatever draws with that font changes its size.
    font = FT2Font(findfont(FontProperties()))
    font.set_size(_MEASURED_SIZE, 72)
    return font
