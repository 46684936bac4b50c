"""The results by class are counts of images, and scikit-learn's precision, recall and F1."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from evaluation_builders import drawn_predictions
from imagepipe.evaluation.class_results import class_results, confused_pairs, confusion_counts
from imagepipe.metrics.decisions import decide


def drawn(
    images: int, classes: int, *, several: bool = False, absent: tuple[int, ...] = (), seed: int = 0
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return labels, decisions and the names of the classes."""
    predictions, labels = drawn_predictions(
        images, classes, several_labels=several, absent=absent, skill=1.0, seed=seed
    )
    names = predictions.classes.tolist()
    decided = decide(predictions.probabilities(), names, several_labels=several)
    return labels, decided.astype(np.int64), names


@pytest.mark.parametrize(
    ("images", "classes", "several", "absent"),
    [
        (100, 10, False, ()),
        (60, 2, False, ()),
        (200, 120, False, tuple(range(0, 120, 7))),
        (80, 6, True, (2,)),
        (40, 1, True, ()),
        (1, 3, False, ()),
    ],
)
def test_figures_are_those_of_counting_and_of_scikit_learn(
    images: int, classes: int, several: bool, absent: tuple[int, ...]
) -> None:
    labels, decided, names = drawn(images, classes, several=several, absent=absent)
    results = class_results(labels, decided, names)
    assert [one.name for one in results] == names
    for c, one in enumerate(results):
        truth = [bool(row[c]) if several else row == c for row in labels]
        guess = [bool(row[c]) if several else row == c for row in decided]
        pairs = list(zip(truth, guess, strict=True))
        tp, fn = pairs.count((True, True)), pairs.count((True, False))
        fp, tn = pairs.count((False, True)), pairs.count((False, False))
        assert (one.images, one.predicted, one.hits) == (tp + fn, tp + fp, tp)
        assert one.accuracy.value == pytest.approx((tp + tn) / images)
        precision, recall, f1, _ = precision_recall_fscore_support(
            truth, guess, average="binary", zero_division=np.nan
        )
        for figure, expected in ((one.precision, precision), (one.recall, recall), (one.f1, f1)):
            if np.isnan(expected):
                assert figure.value is figure.low is figure.high is None
            else:
                assert figure.value == pytest.approx(expected)
                assert figure.low <= figure.value <= figure.high


def test_confusion_of_one_label_counts_each_pair() -> None:
    labels, decided, names = drawn(100, 7, absent=(3,))
    counts = confusion_counts(labels, decided, len(names))
    for true in range(7):
        for guess in range(7):
            expected = sum((labels[i], decided[i]) == (true, guess) for i in range(100))
            assert counts[true, guess] == expected


def test_confusion_of_several_labels_is_a_missed_and_a_wrong_class_of_an_image() -> None:
    labels, decided, names = drawn(70, 5, several=True)
    counts = confusion_counts(labels, decided, len(names))
    for missed in range(5):
        for wrong in range(5):
            expected = sum(
                labels[i, missed] == 1
                and decided[i, missed] == 0
                and labels[i, wrong] == 0
                and decided[i, wrong] == 1
                for i in range(70)
            )
            assert counts[missed, wrong] == expected


def test_pairs_come_most_images_first_then_by_share() -> None:
    counts = np.array([[50, 2, 0], [2, 6, 9], [0, 1, 9]])
    pairs = confused_pairs(counts, [52, 17, 10], ["a", "b", "c"])
    found = [(one.true, one.predicted, one.images, one.share) for one in pairs]
    assert found == [
        ("b", "c", 9, 9 / 17),
        ("b", "a", 2, 2 / 17),
        ("a", "b", 2, 2 / 52),
        ("c", "b", 1, 1 / 10),
    ]


def test_of_many_pairs_the_most_confused_are_kept() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 1000, size=(30, 30))
    pairs = confused_pairs(counts, counts.sum(axis=1).tolist(), [str(i) for i in range(30)])
    off_diagonal = sorted(counts[i, k] for i in range(30) for k in range(30) if i != k)
    assert [one.images for one in pairs] == off_diagonal[:-21:-1]


def test_no_confusion_without_mistakes() -> None:
    assert confused_pairs(np.diag([4, 0, 3]), [4, 0, 3], ["a", "b", "c"]) == []
