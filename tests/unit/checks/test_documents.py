"""Documents as Markdown and HTML: what comes from outside is shown as it is, and does nothing."""

import html
import re

import pytest

from imagepipe.checks.documents import (
    LONGEST_TEXT,
    Bullets,
    Heading,
    Paragraph,
    Table,
    escape_html,
    escape_markdown,
    printable,
    to_html,
    to_markdown,
)

BLOCKS = [
    Heading("A | heading", 1),
    Paragraph("Text with <b> & more."),
    Paragraph("strong", strong=True),
    Bullets(["one", "two | three"]),
    Table(("name", "number"), [("a|b", "1"), ("c`d", "2,000")]),
]


def test_markdown_of_all_blocks() -> None:
    assert to_markdown(BLOCKS) == (
        "# A \\| heading\n\n"
        "Text with &lt;b&gt; &amp; more.\n\n"
        "**strong**\n\n"
        "- one\n- two \\| three\n\n"
        "| name | number |\n| --- | ---: |\n| a\\|b | 1 |\n| c\\`d | 2,000 |\n"
    )


def test_html_of_all_blocks() -> None:
    page = to_html("a < b", BLOCKS)
    for part in (
        "<title>a &lt; b</title>",
        "<h1>A | heading</h1>",
        "<p>Text with &lt;b&gt; &amp; more.</p>",
        "<p><strong>strong</strong></p>",
        "<ul>\n<li>one</li>\n<li>two | three</li>\n</ul>",
        "<tr><th>name</th><th class=number>number</th></tr>",
        "<tr><td>a|b</td><td class=number>1</td></tr>",
    ):
        assert part in page


ODD = [
    "a|b",
    "a\\|b",
    "`code`",
    "<script>alert(1)</script>",
    "<!-- comment",
    "&lt;",
    "[link](javascript:alert(1))",
    "![image](http://127.0.0.1/x.png)",
    "*strong* _also_ __init__ ~~gone~~",
    "$a$ #1 @name http://127.0.0.1 a@b.example",
    "'quotes' \"and\" more",
    "ünïcode 猫 🐈",
]


@pytest.mark.parametrize("text", ODD)
def test_odd_text_is_shown_as_it_is(text: str) -> None:
    assert html.unescape(escape_html(text)) == text
    assert not set(escape_html(text)) & set("<>\"'")
    escaped = escape_markdown(text)
    # What a reader of Markdown does: a backslash before a sign shows the sign.
    assert html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", escaped)) == text
    bare = re.sub(r"\\.", "", escaped)
    assert not set(bare) & set("<>|`*[]~!$@\\")
    assert "://" not in bare
    assert not re.search(r"\b_|_\b", bare)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines", r"two\nlines"),
        ("a\r\n\tb", r"a\r\n\tb"),
        ("\x1b[31mred\x00", r"\x1b[31mred\x00"),
        ("turned \u202e round", r"turned \u202e round"),
        ("line\u2028end", r"line\u2028end"),
        ("half \ud800", r"half \ud800"),
    ],
)
def test_what_does_not_print_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
    for page in (to_markdown([Paragraph(text)]), to_html("t", [Paragraph(text)])):
        assert page.encode().decode().count("\n") == page.count("\n")
    assert len(to_markdown([Paragraph(text)]).splitlines()) == 1


def test_a_very_long_text_is_cut() -> None:
    assert printable("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT
    assert printable("x" * 10**6) == "x" * LONGEST_TEXT + "…"


def test_names_with_underscores_stay_readable() -> None:
    assert escape_markdown("allow_test_images_in_training") == "allow_test_images_in_training"
