"""Text from outside, as pages and Markdown show it: printable, and without effect."""

import html
import re
from collections.abc import Mapping

import yaml

from imagepipe.errors import escaped, one_line

IDS_LISTED = 10
LONGEST_TEXT = 300
# An underscore inside a word means nothing in Markdown, and a colon only in an address.
MARKDOWN_SIGNS = re.compile(r"[\\`*\[\]{}|~#$!@]|:(?=//)|(?<![^\W_])_|_(?![^\W_])")


def counted(number: int, one: str, several: str) -> str:
    """Return "1 image", or "2,000 images"."""
    return f"{number:,} {one if number == 1 else several}"


def as_text(value: object) -> str:
    """Return the text of a number, of a list of ids, or of ids by label."""
    match value:
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4f}"
        case list():
            more = len(value) - IDS_LISTED
            return ", ".join(value[:IDS_LISTED]) + (f" and {more:,} more" if more > 0 else "")
        case dict():
            return "; ".join(f"{label}: {as_text(ids)}" for label, ids in value.items())
    return str(value)


def printable(value: object, longest: int = LONGEST_TEXT) -> str:
    """Return a value as one line of at most `longest`, with escapes for what does not print.

    Line ends do not print, nor do signs that change the direction of writing.
    """
    text = as_text(value)
    if len(text) > longest:
        text = text[:longest] + "…"
    return escaped(text)


def as_yaml(options: Mapping[str, object]) -> str:
    """Return options as YAML, with escapes for what does not print."""
    text = yaml.safe_dump(dict(options), allow_unicode=True, sort_keys=False, width=100)
    return "\n".join(printable(line, len(line)) for line in text.splitlines())


def shorten(text: str, limit: int) -> str:
    """Return foreign text on one line, printable, with at most `limit` characters (3 or more).

    What is left out is in the middle: names that belong together often differ at their end only.
    """
    text = one_line(text)
    if len(text) <= limit:
        return text
    end = (limit - 1) // 3
    return f"{text[: limit - 1 - end].rstrip()}…{text[len(text) - end :].lstrip()}"


def escape_markdown(value: object) -> str:
    """Return Markdown, of one line, that shows a value as it is."""
    return MARKDOWN_SIGNS.sub(r"\\\g<0>", html.escape(printable(value), quote=False))
