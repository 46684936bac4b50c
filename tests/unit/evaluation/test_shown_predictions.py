"""The images that are shown: the surest mistakes, and the least sure hits."""

import numpy as np
import pytest

from evaluation_builders import drawn_predictions
from imagepipe.evaluation.evaluation_file import Prediction
from imagepipe.evaluation.shown_predictions import mistakes_and_hits

CLASSES = ["a", "b", "c"]


def shown(
    probabilities: list[list[float]], labels: list, decided: list
) -> tuple[list[Prediction], list[Prediction]]:
    """Return mistakes and hits among images "0", "1", … in the rows 10, 11, …"""
    ids = [str(i) for i in range(len(labels))]
    rows = range(10, 10 + len(labels))
    arguments = (ids, rows, np.array(probabilities), np.array(labels), np.array(decided), CLASSES)
    return mistakes_and_hits(*arguments)


def test_of_one_label() -> None:
    probabilities = [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5]]
    mistakes, hits = shown(probabilities, labels=[1, 0, 0, 2], decided=[0, 0, 1, 2])
    assert mistakes == [
        Prediction("2", 12, "a", "b", 0.8, 0.1),
        Prediction("0", 10, "b", "a", 0.7, 0.2),
    ]
    assert hits == [
        Prediction("1", 11, "a", "a", 0.5, 0.5),
        Prediction("3", 13, "c", "c", 0.5, 0.5),
    ]


def test_thresholds_decide_not_the_likeliest_class() -> None:
    mistakes, hits = shown([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0]], labels=[0, 1], decided=[1, 1])
    assert mistakes == [Prediction("0", 10, "a", "b", 0.4, 0.6)]
    assert hits == [Prediction("1", 11, "b", "b", 0.4, 0.4)]


def test_of_several_labels() -> None:
    probabilities = [[0.9, 0.2, 0.6], [0.9, 0.9, 0.4], [0.8, 0.7, 0.1], [0.3, 0.2, 0.1]]
    labels = [[1, 1, 1], [1, 1, 1], [1, 1, 0], [0, 0, 0]]
    decided = [[1, 0, 1], [1, 1, 0], [1, 1, 0], [0, 0, 0]]
    mistakes, hits = shown(probabilities, labels, decided)
    # Image 0 is wrong about b with a probability of 0.8, image 1 about c with one of 0.6.
    assert [(one.id, one.true, one.predicted) for one in mistakes] == [
        ("0", "a|b|c", "a|c"),
        ("1", "a|b|c", "a|b"),
    ]
    assert mistakes[0].probability == pytest.approx((0.9 + 0.8 + 0.6) / 3)
    assert mistakes[0].true_probability == pytest.approx((0.9 + 0.2 + 0.6) / 3)
    # The least sure decision of each: no a with 0.7, and b with 0.7.
    assert [(one.id, one.true, one.predicted) for one in hits] == [
        ("2", "a|b", "a|b"),
        ("3", "", ""),
    ]


def test_none_and_at_most_twelve() -> None:
    predictions, labels = drawn_predictions(500, CLASSES, skill=0.0)
    probabilities = predictions.probabilities()
    of_images = [predictions.ids.tolist(), range(500), probabilities, labels]
    decided = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = [i for i in range(500) if decided[i] != labels[i]]
    right = [i for i in range(500) if decided[i] == labels[i]]
    surest = sorted(wrong, key=lambda i: -confidence[i])[:12]
    least_sure = sorted(right, key=lambda i: confidence[i])[:12]
    mistakes, hits = mistakes_and_hits(*of_images, decided, CLASSES)
    assert [one.row for one in mistakes] == surest
    assert [one.row for one in hits] == least_sure
    assert mistakes_and_hits(*of_images, labels, CLASSES)[0] == []
    assert mistakes_and_hits(*of_images, (labels + 1) % 3, CLASSES)[1] == []
