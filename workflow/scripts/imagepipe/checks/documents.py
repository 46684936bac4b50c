"""Short documents of headings, paragraphs, lists and tables, written as Markdown or as HTML.

Every text is plain text, and may come from outside: what would be markup in it is escaped.
"""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# An underscore inside a word means nothing in Markdown, and a colon only in an address.
MARKDOWN_SIGNS = re.compile(r"[\\`*\[\]{}|~#$!@]|:(?=//)|(?<![^\W_])_|_(?![^\W_])")
LONGEST_TEXT = 300
STYLE = """
body { font-family: sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid #ccc; padding: 0.2em 0.8em; text-align: left; }
.number { text-align: right; }
"""


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the document's own."""

    text: str
    level: int


@dataclass(frozen=True)
class Paragraph:
    """A paragraph, which may be strong (bold)."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list of short texts."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table, its first `text_columns` columns aligned to the left, the others to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1


Block = Heading | Paragraph | Bullets | Table


def to_markdown(blocks: Iterable[Block]) -> str:
    """Return a document in GitHub's Markdown."""
    return "\n\n".join(map(_markdown_block, blocks)) + "\n"


def _markdown_block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {escape_markdown(text)}"
        case Paragraph(text, strong):
            return f"**{escape_markdown(text)}**" if strong else escape_markdown(text)
        case Bullets(items):
            return "\n".join(f"- {escape_markdown(item)}" for item in items)
        case Table(header, rows, text_columns):
            rule = ["---" if column < text_columns else "---:" for column in range(len(header))]
            cells = [list(map(escape_markdown, row)) for row in (header, *rows)]
            lines = [cells[0], rule, *cells[1:]]
            return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_html(title: str, blocks: Iterable[Block]) -> str:
    """Return a document as an HTML page."""
    head = f'<meta charset="utf-8"><title>{escape_html(title)}</title><style>{STYLE}</style>'
    body = "\n".join(map(_html_block, blocks))
    return f"<!DOCTYPE html>\n<html><head>{head}</head>\n<body>\n{body}\n</body></html>\n"


def _html_block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape_html(text)}</h{level}>"
        case Paragraph(text, strong):
            inner = escape_html(text)
            return f"<p>{f'<strong>{inner}</strong>' if strong else inner}</p>"
        case Bullets(items):
            inner = "\n".join(f"<li>{escape_html(item)}</li>" for item in items)
            return f"<ul>\n{inner}\n</ul>"
        case Table(header, rows, text_columns):
            lines = [_html_row("th", header, text_columns)]
            lines += [_html_row("td", row, text_columns) for row in rows]
            return "<table>\n" + "\n".join(lines) + "\n</table>"


def _html_row(tag: str, row: Sequence[str], text_columns: int) -> str:
    cells = (
        f"<{tag}{'' if column < text_columns else ' class=number'}>{escape_html(cell)}</{tag}>"
        for column, cell in enumerate(row)
    )
    return f"<tr>{''.join(cells)}</tr>"


def escape_markdown(text: str) -> str:
    """Return Markdown, of one line, that shows a text as it is."""
    return MARKDOWN_SIGNS.sub(r"\\\g<0>", html.escape(printable(text), quote=False))


def escape_html(text: str) -> str:
    """Return HTML, of one line, that shows a text as it is."""
    return html.escape(printable(text))


def printable(text: str) -> str:
    """Return a text of one line: what does not print, as an escape, and the end of a long one cut.

    Among what does not print are line ends, and signs that turn the direction of writing.
    """
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
