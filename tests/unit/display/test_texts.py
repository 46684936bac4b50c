"""Labels of foreign text, and figures of a sentence."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from imagepipe.display.texts import draw_sentence, short


@pytest.mark.parametrize(
    ("text", "limit", "label"),
    [
        ("cat", 3, "cat"),
        ("fast@optimizer.lr=0.1", 10, "fast@o…0.1"),
        ("fast@optimizer.lr=0.1", 3, "fa…"),
        ("two\nlines\tand  spaces", 30, "two lines and spaces"),
        ("a\x00b\u202ec", 30, "a\\x00b\\u202ec"),
        ("x" * 300, 20, "x" * 13 + "…" + "x" * 6),
    ],
)
def test_label_is_one_printable_line(text: str, limit: int, label: str) -> None:
    assert short(text, limit) == label
    assert len(label) <= limit


def test_a_sentence_is_a_figure_with_its_words(tmp_path: Path) -> None:
    for name in ("one", "other"):
        svg = tmp_path / f"{name}.svg"
        draw_sentence(svg, "Runs", f"One run: nothing to compare yet. {'More words. ' * 9}<&>")
    one, other = (tmp_path / f"{name}.svg" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()
    assert one.with_suffix(".png").read_bytes() == other.with_suffix(".png").read_bytes()
    words = " ".join(ElementTree.fromstring(one.read_text()).itertext())
    assert "Runs" in words
    assert "One run: nothing to compare yet." in words
    assert "<&>" in words
