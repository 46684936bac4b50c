"""Text from outside: on one line, of a readable length, as it is."""

import pytest

from imagepipe.display.escaping import LONGEST_TEXT, as_text, as_yaml, escape_markdown, printable


def test_a_very_long_text_is_cut() -> None:
    assert printable("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT
    assert printable("x" * 10**6) == "x" * LONGEST_TEXT + "…"


def test_names_with_underscores_stay_readable() -> None:
    assert escape_markdown("allow_test_images_in_training") == "allow_test_images_in_training"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2000, "2,000"),
        (0.25, "0.2500"),
        ([], ""),
        ([str(n) for n in range(10)], "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ([str(n) for n in range(1010)], "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1,000 more"),
        ({"cat": ["1", "2"], "dog": ["3"]}, "cat: 1, 2; dog: 3"),
    ],
)
def test_values_become_text(value: object, text: str) -> None:
    assert as_text(value) == text


def test_yaml_is_whole_and_prints() -> None:
    options = {"b": "x" * 1000, "a": {"title": "turned \u202e around"}}
    assert as_yaml(options) == f"b: {'x' * 1000}\na:\n  title: turned \\u202e around"
