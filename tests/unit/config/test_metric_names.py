"""The names of metrics: words, direction and k, held against what `compute_metric` does."""

import re

import numpy as np
import pytest
from pydantic import TypeAdapter

from imagepipe.config.dataset import THRESHOLD_METRICS, Metric
from imagepipe.config.metric_names import (
    higher_is_better,
    is_fraction_of_images,
    k_of_metric,
    metric_words,
)
from imagepipe.dataset.submission_form import MetricChoice
from imagepipe.metrics.metric import compute_metric

# Those that a dataset file may have, with 2 for any number.
PATTERN = TypeAdapter(Metric).json_schema()["pattern"]
NAMES = PATTERN.replace("[1-9][0-9]*", "2").removeprefix("^(").removesuffix(")$").split("|")


def value(name: str, rank: int) -> float | None:
    """Return the metric of images whose class is the likeliest (rank 0), or one after it."""
    classes = ("0", "1", "2") if k_of_metric(name) else ("0", "1")
    labels = np.array([0, 1, 0, 1])
    # The likeliest class has a probability of 0.8.
    likely = (labels - rank) % len(classes)
    ranks = (np.arange(len(classes)) - likely[:, None]) % len(classes)
    return compute_metric(MetricChoice(name), 0.8 / 5.0**ranks, labels, classes)


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_are_better_than_wrong_ones(name: str) -> None:
    right, wrong = value(name, 0), value(name, 2 if name == "top_2_error" else 1)
    assert right is not None and wrong is not None
    assert right > wrong if higher_is_better(name) else right < wrong


@pytest.mark.parametrize("form", ["top_{}_error", "map_at_{}"])
def test_k_is_that_of_the_likeliest_classes_which_are_looked_at(form: str) -> None:
    assert k_of_metric(form.format(12)) == 12
    for k in (1, 2):
        name = form.format(k)
        assert k_of_metric(name) == k
        assert value(name, k - 1) != value(name, k)


def test_only_metrics_with_a_number_have_a_k() -> None:
    assert {name for name in NAMES if k_of_metric(name)} == {"top_2_error", "map_at_2"}


def test_fractions_of_images_are_accuracy_and_top_k_error() -> None:
    fractions = {name for name in NAMES if is_fraction_of_images(name)}
    errors = {name for name in NAMES if k_of_metric(name) and not name.startswith("map")}
    assert fractions == {"accuracy", *errors}


def test_thresholds_are_those_of_metrics_that_a_dataset_file_may_have() -> None:
    assert set(THRESHOLD_METRICS) <= set(NAMES)


def test_every_metric_has_words_of_its_own_for_people() -> None:
    words = [metric_words(name) for name in NAMES]
    assert len(set(words)) == len(NAMES)
    # Abbreviations are in capitals, and nothing is left of the names' underscores.
    assert not [some for some in words if re.search(r"_|\b(roc|auc|f[0-9]|map)\b", some)]
    assert metric_words("accuracy") == "accuracy"
    assert metric_words("roc_auc") == "ROC AUC"
    assert metric_words("mean_column_roc_auc") == "mean column ROC AUC"
    assert metric_words("f1") == "F1"
    assert metric_words("f1_micro") == "micro F1"
    assert metric_words("f1_macro") == "macro F1"
    assert metric_words("f1_samples") == "mean F1 of the images"
    assert metric_words("f2") == "F2"
    assert metric_words("quadratic_weighted_kappa") == "quadratic weighted kappa"
    assert metric_words("log_loss") == "log loss"
    assert metric_words("top_5_error") == "top-5 error"
    assert metric_words("map_at_12") == "MAP@12"
