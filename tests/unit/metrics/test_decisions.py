"""Predicted classes, at thresholds or without."""

from pathlib import Path

import numpy as np
import pytest

from builders import refused
from imagepipe.metrics.decisions import (
    Thresholds,
    decide,
    read_thresholds,
    write_thresholds,
)

PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.1, 0.45, 0.45]])


def test_without_thresholds_it_is_the_likeliest_class_or_those_from_a_half_on() -> None:
    assert decide(PROBABILITIES, "abc", several_labels=False).tolist() == [0, 2, 1]
    several = decide(PROBABILITIES, "abc", several_labels=True)
    assert several.tolist() == [[True, False, False], [False, False, True], [False] * 3]


def test_positive_class_from_its_threshold_on_and_else_the_likeliest_other() -> None:
    thresholds = Thresholds("one", (0.3,), positive="b")
    assert decide(PROBABILITIES, "abc", thresholds, several_labels=False).tolist() == [1, 2, 1]
    thresholds = Thresholds("one", (0.46,), positive="b")
    assert decide(PROBABILITIES, "abc", thresholds, several_labels=False).tolist() == [0, 2, 2]


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        (Thresholds("one", (0.45,)), ["a", "c", "bc"]),
        (Thresholds("one", (0.55,)), ["", "c", ""]),
        (Thresholds("one", (0.55,), at_least_one=True), ["a", "c", "b"]),
        (Thresholds("per_class", (0.1, 0.4, 0.9)), ["a", "a", "ab"]),
        (Thresholds("none", at_least_one=True), ["a", "c", "b"]),
    ],
)
def test_several_labels_at_thresholds(thresholds: Thresholds, expected: list[str]) -> None:
    chosen = decide(PROBABILITIES, "abc", thresholds, several_labels=True)
    assert ["".join(np.array(list("abc"))[row]) for row in chosen] == expected


def test_expected_number_is_cut_at_the_boundaries_in_the_order_of_the_numbers() -> None:
    classes = ("0", "10", "2")
    # Expected: 0, 10, 2, 5.
    probabilities = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0]])
    thresholds = Thresholds("ordinal", (1.0, 6.0))
    chosen = decide(probabilities, classes, thresholds, several_labels=False)
    assert [classes[c] for c in chosen] == ["0", "10", "2", "2"]
    lower = Thresholds("ordinal", (1.0, 5.0))  # a number on a boundary is above it
    assert classes[decide(probabilities, classes, lower, several_labels=False)[3]] == "10"


def test_thresholds_come_back_exactly(tmp_path: Path) -> None:
    thresholds = Thresholds("per_class", (0.1 + 0.2, 1 / 3), "Zoë", at_least_one=True)
    write_thresholds(tmp_path / "thresholds.json", thresholds)
    assert read_thresholds(tmp_path / "thresholds.json") == thresholds


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "one", "values": [1], "x": 1}'])
def test_damaged_thresholds_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "thresholds.json").write_text(content)
    with refused("thresholds.json", "--forcerun thresholds"):
        read_thresholds(tmp_path / "thresholds.json")
