"""Figures: their style, their files, and their place in a page.

A figure is drawn once, in the light colors, and written as SVG and PNG. `inline_svg` makes its
colors follow those of the page, light or dark.
"""

import base64
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

from matplotlib import rc_context, style
from matplotlib.figure import Figure
from PIL import Image

from imagepipe.display.colors import COLORS
from imagepipe.files import atomic_write

STYLE = Path(__file__).with_suffix(".mplstyle")
# A figure of this width, in inches, fits a phone's screen without scrolling, and half a page.
COLUMN_WIDTH = 4.8
# No date and no name of a program, so that the same figure gives the same bytes.
_NO_METADATA = {"Date": None, "Creator": None}
_NOT_FOR_A_PAGE = re.compile(r"<(metadata|style)\b.*?</\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_ID = re.compile(r'(\bid="|href="#|url\(#)')
_SIZE = re.compile(r'<svg[^>]*?viewBox="([^"]*)"[^>]*>', re.DOTALL)
_PICTURE = re.compile(r'"data:image/png;base64,\s*([^"]+)"([^>]*)')
# As matplotlib writes it, for pixels that stay squares.
_PIXELATED = re.compile(r' style="image-rendering[^"]*"')
# A picture of more bytes becomes JPEG if that has half as many. 40 small ones may take 400 kB.
LARGE_PICTURE = 6000


@contextmanager
def styled() -> Iterator[None]:
    """Draw figures in the project's style inside this block.

    Letters that the PNG file's font lacks, as in a class's name, are no reason for a warning.
    """
    with warnings.catch_warnings(), rc_context(), style.context(STYLE):
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def new_figure(width: float = COLUMN_WIDTH, height: float = 3.2) -> Figure:
    """Return an empty figure, with a size in inches. Call it inside `styled`."""
    return Figure(figsize=(width, height))


def save_figure(figure: Figure, svg: Path) -> None:
    """Write a figure as an SVG file, and as a PNG file beside it. Call it inside `styled`.

    The same figure gives the same bytes. In the SVG file, photos are JPEG.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=_NO_METADATA)
    with atomic_write(svg) as temporary:
        temporary.write_text(_PICTURE.sub(_smaller, text.getvalue()), encoding="utf-8")
    with atomic_write(svg.with_suffix(".png")) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _smaller(picture: re.Match[str]) -> str:
    """Return a picture's data and the rest of its element, as JPEG if that is far smaller."""
    content = base64.b64decode(picture[1])
    if len(content) < LARGE_PICTURE:
        return picture[0]
    image = Image.open(io.BytesIO(content))
    opacities = image.convert("RGBA").getchannel("A").histogram()
    jpeg = io.BytesIO()
    image.convert("RGB").save(jpeg, "JPEG", quality=85, subsampling=0)
    if any(opacities[:255]) or jpeg.tell() > len(content) / 2:
        return picture[0]
    data = base64.b64encode(jpeg.getvalue()).decode()
    return f'"data:image/jpeg;base64,{data}"{_PIXELATED.sub("", picture[2])}'


def inline_svg(svg: Path, title: str) -> str:
    """Return a figure's SVG as an element of an HTML page, which has the name `title`.

    Its colors are the page's custom properties, such as `var(--ink)`; its width is at most that of
    its place. Its ids begin with the file's name, so that several figures can be in one page.
    """
    text = svg.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    box = _SIZE.match(text)
    if box is None:
        raise ValueError(f"{svg}: is not an SVG file of matplotlib")
    width = float(box[1].split()[2])
    start = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box[1]}" role="img" '
        f'aria-label="{escape(title)}" style="max-width: {width * 4 / 3:.0f}px">'
    )
    text = start + _NOT_FOR_A_PAGE.sub("", text[box.end() :])
    # Inside tags only: a class may have a color's value as its name.
    return _TAG.sub(lambda tag: _for_a_page(tag[0], svg.stem), text)


def _for_a_page(tag: str, prefix: str) -> str:
    tag = _ID.sub(rf"\g<1>{prefix}-", tag)
    for role, (color, _) in COLORS.items():
        tag = tag.replace(color, f"var(--{role})")
    return tag
