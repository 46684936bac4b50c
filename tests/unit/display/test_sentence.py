"""The figure of one sentence."""

from pathlib import Path

from evaluation_builders import shown_texts
from imagepipe.display.figures import COLUMN_WIDTH, styled
from imagepipe.display.sentence import SIZE, draw_sentence
from imagepipe.display.text import text_width


def test_a_long_sentence_is_written_in_lines_that_have_room(tmp_path: Path) -> None:
    sentence = "The model is right on all 100 validation images. " * 5 + "W" * 300
    with styled():
        title, *lines = shown_texts(draw_sentence(sentence, "The surest mistakes"), tmp_path)
        assert title == "The surest mistakes"
        assert len(lines) > 3
        assert all(text_width(line, SIZE) <= COLUMN_WIDTH for line in lines)
    # Only the word that has no room in a line is shortened.
    assert " ".join(lines).startswith(sentence[:200].strip())


def test_a_longer_sentence_makes_a_higher_figure() -> None:
    with styled():
        heights = [draw_sentence("word " * n, "Title").get_size_inches()[1] for n in (1, 40)]
    assert heights[0] < heights[1]
