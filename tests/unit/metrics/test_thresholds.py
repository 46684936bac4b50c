"""The thresholds that are best on validation images, and are not fitted to chance."""

import numpy as np
import pytest

from imagepipe.dataset.submission_form import MetricChoice
from imagepipe.metrics.decisions import NO_THRESHOLDS, decide
from imagepipe.metrics.metric import compute_metric
from imagepipe.metrics.thresholds import choose_thresholds

GRADES = ("0", "1", "2", "3", "4")
TAGS = tuple("abcdefgh")


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def rare_positives(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated probabilities of which one in ten is positive."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-2.8, 1.5, images)
    chance = 1 / (1 + np.exp(-logit))
    labels = (rng.random(images) < chance).astype(np.int64)
    return np.stack([1 - chance, chance], axis=1), labels


def graded(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rates = np.array([0.5, 0.1, 0.25, 0.07, 0.08])
    labels = rng.choice(5, size=images, p=rates)
    seen = labels + rng.normal(size=images)
    return softmax(np.log(rates) - abs(np.arange(5) - seen[:, None]) ** 1.2), labels


def tagged(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rates = np.linspace(0.03, 0.4, len(TAGS))
    labels = (rng.random((images, len(TAGS))) < rates).astype(np.int64)
    labels[np.arange(images), rng.integers(len(TAGS), size=images)] = 1
    logits = np.log(rates / (1 - rates)) + 2.5 * labels + rng.normal(size=labels.shape) - 1
    return 1 / (1 + np.exp(-logits)), labels


CASES = {
    "f1": (rare_positives, ("no", "yes"), "yes"),
    "f2": (rare_positives, ("no", "yes"), "yes"),
    "quadratic_weighted_kappa": (graded, GRADES, None),
    "f1_micro": (tagged, TAGS, None),
    "f1_macro": (tagged, TAGS, None),
    "f1_samples": (tagged, TAGS, None),
    "f2 of several": (tagged, TAGS, None),
}


@pytest.mark.parametrize("images", [3, 10, 40, 500])
@pytest.mark.parametrize("case", CASES)
def test_thresholds_are_never_worse_on_the_images_that_chose_them(case: str, images: int) -> None:
    draw, classes, positive = CASES[case]
    choice = MetricChoice(case.split()[0], positive)
    for seed in range(5 if images < 100 else 2):
        probabilities, labels = draw(images, seed)
        thresholds = choose_thresholds(choice, probabilities, labels, classes)
        assert thresholds == choose_thresholds(choice, probabilities, labels, classes)
        plain = compute_metric(choice, probabilities, labels, classes)
        value = compute_metric(choice, probabilities, labels, classes, thresholds)
        assert (value is None and plain is None) or (value or 0) >= (plain or 0)


@pytest.mark.parametrize("case", CASES)
def test_thresholds_from_400_images_help_on_others(case: str) -> None:
    draw, classes, positive = CASES[case]
    choice = MetricChoice(case.split()[0], positive)
    thresholds = choose_thresholds(choice, *draw(400, 0), classes)
    others = draw(20_000, 1)
    plain = compute_metric(choice, *others, classes)
    assert plain is not None
    assert (compute_metric(choice, *others, classes, thresholds) or 0) > plain + 0.01


@pytest.mark.parametrize("case", CASES)
def test_thresholds_from_40_images_do_no_harm_on_others(case: str) -> None:
    """On average over draws: a single one of so few images may be unlucky."""
    draw, classes, positive = CASES[case]
    choice = MetricChoice(case.split()[0], positive)
    others = draw(5_000, 99)
    plain = compute_metric(choice, *others, classes) or 0
    values = [
        compute_metric(choice, *others, classes, choose_thresholds(choice, *draw(40, s), classes))
        for s in range(10)
    ]
    assert np.mean([value or 0 for value in values]) > plain - 0.005


def test_threshold_of_calibrated_probabilities_is_half_of_the_best_f1() -> None:
    """A theorem: Lipton, Elkan and Naryanaswamy, 2014, Optimal thresholding of classifiers."""
    choice = MetricChoice("f1", "yes")
    probabilities, labels = rare_positives(20_000, 0)
    thresholds = choose_thresholds(choice, probabilities, labels, ("no", "yes"))
    best = compute_metric(choice, probabilities, labels, ("no", "yes"), thresholds)
    assert best is not None
    assert (thresholds.kind, thresholds.positive) == ("one", "yes")
    assert thresholds.values[0] == pytest.approx(best / 2, abs=0.04)


def test_boundaries_of_a_kappa_are_ordered_whatever_the_order_of_the_classes() -> None:
    choice = MetricChoice("quadratic_weighted_kappa")
    probabilities, labels = graded(300, 0)
    thresholds = choose_thresholds(choice, probabilities, labels, GRADES)
    assert thresholds.kind == "ordinal"
    assert list(thresholds.values) == sorted(thresholds.values)
    names = ("0", "10", "20", "3", "4")  # 0, 3, 4, 10, 20 by number
    as_text = [0, 3, 4, 1, 2]
    moved, moved_labels = probabilities[:, np.argsort(as_text)], np.array(as_text)[labels]
    thresholds = choose_thresholds(choice, moved, moved_labels, names)
    value = compute_metric(choice, moved, moved_labels, names, thresholds)
    assert (value or 0) > (compute_metric(choice, moved, moved_labels, names) or 0)


def test_a_class_with_few_images_has_the_common_threshold() -> None:
    probabilities, labels = tagged(80, 0)
    thresholds = choose_thresholds(MetricChoice("f1_macro"), probabilities, labels, TAGS)
    counts = labels.sum(axis=0)
    assert thresholds.kind == "per_class"
    few = {v for v, count in zip(thresholds.values, counts, strict=True) if count < 20}
    assert len(few) == 1
    assert len(set(thresholds.values)) > 2


def test_an_image_may_stay_without_label_only_if_some_validation_image_has_none() -> None:
    probabilities, labels = tagged(300, 0)
    choice = MetricChoice("f1_samples")
    thresholds = choose_thresholds(choice, probabilities, labels, TAGS)
    unsure = np.full((1, len(TAGS)), 0.01)
    assert thresholds.at_least_one
    assert decide(unsure, TAGS, thresholds, several_labels=True).sum() == 1
    labels[0] = 0
    thresholds = choose_thresholds(choice, probabilities, labels, TAGS)
    assert decide(unsure, TAGS, thresholds, several_labels=True).sum() == 0


@pytest.mark.parametrize(
    ("name", "classes"),
    [("accuracy", 2), ("log_loss", 3), ("f1_micro", 3), ("f1_macro", 3), ("f1_samples", 3)],
)
def test_metrics_of_one_label_among_many_need_no_thresholds(name: str, classes: int) -> None:
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(classes), 50), rng.integers(classes, size=50)
    names = tuple("abc"[:classes])
    assert choose_thresholds(MetricChoice(name), probabilities, labels, names) == NO_THRESHOLDS


@pytest.mark.parametrize("name", ["f1", "quadratic_weighted_kappa"])
def test_images_of_one_class_give_no_thresholds_rather_than_an_error(name: str) -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]])
    found = choose_thresholds(MetricChoice(name, "1"), probabilities, np.array([0, 0]), ("0", "1"))
    assert found == NO_THRESHOLDS


@pytest.mark.parametrize(
    ("expected", "lowest", "boundaries"),
    [((1.6, 1.9), 1, (0.5, 1.75)), ((0.1, 0.4), 0, (0.25, 1.5))],
)
def test_boundary_of_a_grade_without_images_stays_in_the_middle_of_two_grades(
    expected: tuple[float, float], lowest: int, boundaries: tuple[float, float]
) -> None:
    labels = np.array([0, 1] * 50)
    number = np.array(expected)[labels]
    probabilities = np.stack([1 - number / 2, np.zeros(100), number / 2], axis=1)
    choice = MetricChoice("quadratic_weighted_kappa")
    found = choose_thresholds(choice, probabilities, labels + lowest, ("0", "1", "2"))
    assert found.values == pytest.approx(boundaries)
