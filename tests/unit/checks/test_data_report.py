"""The report as Markdown and HTML: what comes from outside is shown as it is, and does nothing."""

import html
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from imagepipe.checks.data_report import (
    ALL_SPLITS,
    attention,
    render,
)
from imagepipe.display.escaping import escape_markdown, printable


def report_with(text: str) -> dict[str, Any]:
    """Return a report in which every text that can come from outside is `text`."""
    group = {"train": [text], "valid": [text], "test": [text]}
    pairs = [(a, b) for i, a in enumerate(ALL_SPLITS) for b in ALL_SPLITS[i:]]
    values = {"mean": [0.5] * 3, "std": [0.2] * 3}
    report: dict[str, Any] = {
        "images": {"train": 2000, "valid": 1, "test": 1},
        "size": {"height": 24, "width": 32},
        "several_labels": False,
        "unlabelled": 0,
        "classes": [{"class": text, "train": 2000, "valid": 1}],
        "small_validation": {
            "fewer_than": 50,
            "is_small": True,
            "fewer_of_class_than": 5,
            "classes": [text],
            "standard_error": 0.5,
        },
        "unequal_classes": {
            "largest": {"class": text, "images": 2001},
            "smallest": {"class": text, "images": 1},
        },
        "small_classes": {"fewer_than": 10, "classes": [text]},
        "similar_labels": [[text, text]],
        "unmatched": [{"id": text, "problem": text}],
        "formats": {"labelled": {text: 2001}, "test": {}},
        "undecodable": [{"image": text, "problem": text}],
        "salvaged": [{"image": text, "problem": text}],
        "channels": {
            "measured": values | {"image_std": [0.1] * 3},
            "dataset_file": values,
            "tolerance": 0.02,
            "beyond_tolerance": ["mean"],
        },
        "duplicates": {
            "groups": 1,
            "images": 3,
            "pairs": [{"splits": [a, b], "groups": 1, "images": 2} for a, b in pairs],
            "labelled_images_in_test": 2,
            "different_labels": [{text: [text], f"{text}2": [text]}],
            "all": [group],
        },
    }
    found = attention(report).items()
    return {
        "attention": [{"finding": name, "message": message} for name, message in found]
    } | report


def test_markdown_has_headings_lists_and_tables() -> None:
    text = render(report_with("a|b"), "md", "report.json")
    for part in (
        "# The data before training\n\n**12 things need attention:**\n\n- ",
        "\n\n## Images\n\n"
        "| class | train | valid | both |\n| --- | ---: | ---: | ---: |\n"
        "| a\\|b | 2,000 | 1 | 2,001 |\n| all | 2,000 | 1 | 2,001 |\n\n"
        "The test set has 1 image. Images are stored with a height of 24 and a width of 32 "
        "pixels.\n\n",
        "\n| mean | measured | 0.5000 | 0.5000 | 0.5000 |\n",
        "\n| a\\|b: a\\|b; a\\|b2: a\\|b |\n",
    ):
        assert part in text
    assert "\n\n\n" not in text
    assert text.endswith("|\n")


def test_html_has_headings_lists_and_tables() -> None:
    page = render(report_with("a|b"), "html", "report.json")
    for part in (
        '<!DOCTYPE html>\n<html lang="en">\n<head>',
        "<title>The data before training</title>",
        "<h1>The data before training</h1>\n",
        "<p><strong>12 things need attention:</strong></p>\n<ul>",
        '<tr><th scope="col">class</th><th scope="col" class=number>train</th>',
        '<tr><td><bdi>a|b</bdi></td><td class=number data-value="2000">2,000</td>',
        "<p>The test set has 1 image. Images are stored",
    ):
        assert part in page


class Tags(HTMLParser):
    """Collects the tags of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(" ".join([tag, *(f"{name}={value}" for name, value in attrs)]))


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
def test_odd_text_is_shown_as_it_is_in_markdown(text: str) -> None:
    escaped = escape_markdown(text)
    # A reader of Markdown shows the sign after a backslash.
    assert html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", escaped)) == text
    bare = re.sub(r"\\.", "", escaped)
    assert not set(bare) & set("<>|`*[]~!$@\\")
    assert "://" not in bare
    assert not re.search(r"\b_|_\b", bare)
    assert f"| {escaped} | {escaped} |" in render(report_with(text), "md", "report.json")


@pytest.mark.parametrize("text", ODD)
def test_odd_text_is_shown_as_it_is_in_html(text: str) -> None:
    page, harmless = (
        render(report_with(shown), "html", "report.json") for shown in (text, "harmless")
    )
    assert f"<td><bdi>{text}</bdi></td><td><bdi>{text}</bdi></td>" in html.unescape(page)
    tags, expected = Tags(), Tags()
    tags.feed(page)
    expected.feed(harmless)
    assert tags.found == expected.found


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
    for ending in ("md", "html"):
        page, harmless = (
            render(report_with(one), ending, "report.json") for one in (text, "harmless")
        )
        assert len(page.encode().splitlines()) == len(harmless.splitlines())
        assert len(page.splitlines()) == len(harmless.splitlines())
