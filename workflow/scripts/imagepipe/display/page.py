"""The frame of HTML pages: self-contained documents that make no request.

A template extends `page.html.j2`, and imports its parts from `page.parts.j2`. A page is read
without JavaScript, too; with it, tables are sorted and filtered, and light or dark can be chosen.
"""

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from imagepipe.display.colors import COLORS
from imagepipe.display.escaping import counted, printable, shorten

FOLDER = Path(__file__).parent
# The most letters of a name in a table.
LONGEST_LABEL = 60


def page_environment(folder: Path) -> Environment:
    """Return an environment for the templates of a folder and the frame, which escapes all text."""
    environment = Environment(
        loader=FileSystemLoader([folder, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    environment.globals |= {
        "style": Markup(custom_properties() + style),
        "script": Markup(script),
        # The policy lets only this script run, whatever comes from outside.
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    environment.filters |= {"counted": counted, "label": label, "shown": printable}
    return environment


def label(value: object, *, breaks: bool = False) -> Markup:
    """Return foreign text for a table; a name that is too long is shortened, with a tooltip.

    Its direction of writing, such as right to left, does not affect the text around it. With
    `breaks`, a line may end after an underscore.
    """
    is_long = isinstance(value, str) and len(value) > LONGEST_LABEL
    text = escape(shorten(str(value), LONGEST_LABEL) if is_long else printable(value))
    if breaks:
        text = text.replace("_", Markup("_<wbr>"))
    if is_long:
        return Markup('<bdi title="{}">{}</bdi>').format(printable(value), text)
    return Markup("<bdi>{}</bdi>").format(text)


def custom_properties() -> str:
    """Return the colors as CSS: light, dark as the system or the reader chooses, and in print."""
    light, dark = (
        " ".join(f"--{role}: {pair[shade]};" for role, pair in COLORS.items()) for shade in (0, 1)
    )
    return (
        f":root {{ color-scheme: light; {light} }}\n"
        "@media screen and (prefers-color-scheme: dark) {\n"
        f":root:not([data-theme=light]) {{ color-scheme: dark; {dark} }}\n}}\n"
        f"@media screen {{\n:root[data-theme=dark] {{ color-scheme: dark; {dark} }}\n}}\n"
    )
