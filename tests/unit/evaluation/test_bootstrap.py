"""A resample's metric is that of its images, and the intervals contain the truth."""

import warnings

import numpy as np
import pytest

from evaluation_builders import drawn_predictions
from imagepipe.dataset.submission_form import MetricChoice
from imagepipe.evaluation.bootstrap import bootstrap_interval, resampled_metric
from imagepipe.metrics.decisions import NO_THRESHOLDS, Thresholds
from imagepipe.metrics.metric import compute_metric

ONE_LABEL = (
    *("map_at_3", "log_loss", "mean_column_roc_auc"),
    *("f1", "f2", "f1_micro", "f1_macro", "f1_samples", "quadratic_weighted_kappa"),
)
SEVERAL_LABELS = (
    *("map_at_3", "log_loss", "mean_column_roc_auc"),
    *("f2", "f1_micro", "f1_macro", "f1_samples"),
)
CASES = [
    *((name, 5, False, NO_THRESHOLDS, None) for name in ONE_LABEL),
    *((name, 2, False, NO_THRESHOLDS, None) for name in ("f1", "f2", "roc_auc", "log_loss")),
    *((name, 5, True, NO_THRESHOLDS, None) for name in SEVERAL_LABELS),
    *((name, 1, True, NO_THRESHOLDS, None) for name in ("f1_micro", "f1_macro", "f1_samples")),
    ("f1", 5, True, NO_THRESHOLDS, "3"),
    ("roc_auc", 5, False, NO_THRESHOLDS, "1"),
    ("f1", 2, False, Thresholds("one", (0.3,), "1"), "1"),
    ("f1_macro", 3, True, Thresholds("per_class", (0.3, 0.6, 0.5), at_least_one=True), None),
    ("quadratic_weighted_kappa", 3, False, Thresholds("ordinal", (0.4, 1.7)), None),
]


@pytest.mark.parametrize(("name", "classes", "several", "thresholds", "positive"), CASES)
def test_a_resample_has_the_metric_of_its_images(
    name: str, classes: int, several: bool, thresholds: Thresholds, positive: str | None
) -> None:
    choice = MetricChoice(name, positive)
    # Class 0 is not there, and few images make the others miss in some resamples.
    names = [str(i) for i in range(classes)]
    absent = (0,) if classes > 3 else ()
    predictions, labels = drawn_predictions(
        12, names, skill=1.0, several_labels=several, absent=absent, seed=classes
    )
    # Round numbers: some are equal, which matters to the AUC.
    probabilities = predictions.probabilities().round(1)
    rng = np.random.default_rng(0)
    counts = np.stack([np.bincount(rng.integers(12, size=12), minlength=12) for _ in range(40)], 1)
    counts[:, 0] = 1
    counts[:, 1] = 12 * np.eye(12)[3]
    values = resampled_metric(
        choice, probabilities, labels, names, thresholds, counts.astype(float)
    )
    for value, count in zip(values, counts.T, strict=True):
        images = np.repeat(np.arange(12), count)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = compute_metric(
                choice, probabilities[images], labels[images], names, thresholds
            )
        if expected is None:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(expected, abs=1e-9)


def test_the_same_images_have_the_same_interval() -> None:
    predictions, labels = drawn_predictions(80, 4)
    of_images = (predictions.probabilities(), labels, predictions.classes.tolist())
    one, other = (bootstrap_interval(MetricChoice("log_loss"), *of_images) for _ in range(2))
    assert one == other
    assert one[2] == 1000


def test_the_interval_contains_the_truth_nineteen_times_of_twenty() -> None:
    choice, names = MetricChoice("log_loss"), ["0", "1", "2"]
    predictions, labels = drawn_predictions(100_000, names, skill=1.5, seed=1)
    probabilities = predictions.probabilities()
    truth = compute_metric(choice, probabilities, labels, names)
    found = 0
    for start in range(0, 30_000, 150):
        some = slice(start, start + 150)
        low, high, _ = bootstrap_interval(choice, probabilities[some], labels[some], names)
        found += low <= truth <= high
    assert 0.90 <= found / 200 <= 0.99


def test_more_images_have_a_narrower_interval() -> None:
    predictions, labels = drawn_predictions(2000, 3)
    probabilities, names = predictions.probabilities(), predictions.classes.tolist()
    widths = []
    for images in (20, 200, 2000):
        low, high, _ = bootstrap_interval(
            MetricChoice("f1_macro"), probabilities[:images], labels[:images], names
        )
        widths.append(high - low)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


@pytest.mark.parametrize("images", [1, 50])
def test_no_interval_where_all_resamples_agree(images: int) -> None:
    predictions, labels = drawn_predictions(images, 3, skill=99)
    of_images = (predictions.probabilities(), labels, predictions.classes.tolist())
    low, high, _ = bootstrap_interval(MetricChoice("f1_macro"), *of_images)
    assert low is high is None


def test_no_interval_where_most_resamples_have_no_value() -> None:
    # The AUC needs both classes, and the only image of one is in few resamples.
    probabilities = np.linspace(0.1, 0.9, 9)[:, None].repeat(2, axis=1)
    labels = np.array([0] * 8 + [1])
    choice = MetricChoice("roc_auc")
    low, high, _ = bootstrap_interval(choice, probabilities[:2], labels[-2:], ["0", "1"])
    assert low is high is None


def test_many_images_have_fewer_resamples() -> None:
    predictions, labels = drawn_predictions(30_000, 30)
    of_images = (predictions.probabilities(), labels, predictions.classes.tolist())
    assert bootstrap_interval(MetricChoice("f1_macro"), *of_images)[2] == 333
    assert bootstrap_interval(MetricChoice("mean_column_roc_auc"), *of_images)[2] == 111
