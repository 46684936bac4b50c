"""The names of metrics: words and direction."""

import pytest
from pydantic import TypeAdapter

from imagepipe.config.dataset import THRESHOLD_METRICS, Metric
from imagepipe.config.metric_names import higher_is_better, k_of_metric, metric_words

WORDS = {
    "accuracy": "accuracy",
    "top_5_error": "top-5 error",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "mean_column_roc_auc": "mean column ROC AUC",
    "f1": "F1",
    "f1_micro": "micro F1",
    "f1_macro": "macro F1",
    "f1_samples": "mean F1 of the images",
    "f2": "F2",
    "quadratic_weighted_kappa": "quadratic weighted kappa",
    "map_at_12": "MAP@12",
}


@pytest.mark.parametrize(("name", "words"), WORDS.items())
def test_metric_in_words(name: str, words: str) -> None:
    assert metric_words(TypeAdapter(Metric).validate_python(name)) == words


def test_errors_and_losses_are_better_when_lower() -> None:
    assert [name for name in WORDS if not higher_is_better(name)] == ["top_5_error", "log_loss"]
    assert all(map(higher_is_better, THRESHOLD_METRICS))


def test_k_is_that_of_the_likeliest_classes() -> None:
    found = {name: k_of_metric(name) for name in WORDS if k_of_metric(name)}
    assert found == {"top_5_error": 5, "map_at_12": 12}
