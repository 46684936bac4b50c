"""The metrics' names: their words, their direction, and the k of top_k_error and map_at_k."""

import re

_AT_K = re.compile(r"(top|map_at)_([1-9][0-9]*)(_error)?")
_WORDS = {
    "roc_auc": "ROC AUC",
    "mean_column_roc_auc": "mean column ROC AUC",
    "f1": "F1",
    "f1_micro": "micro F1",
    "f1_macro": "macro F1",
    "f1_samples": "mean F1 of the images",
    "f2": "F2",
}


def k_of_metric(name: str) -> int | None:
    """Return the k of a metric of the k likeliest classes, and None for the others."""
    at_k = _AT_K.fullmatch(name)
    return int(at_k[2]) if at_k else None


def metric_words(name: str) -> str:
    """Return a metric's name for display, such as "log loss" or "MAP@5"."""
    if k := k_of_metric(name):
        return f"MAP@{k}" if name.startswith("map") else f"top-{k} error"
    return _WORDS.get(name, name.replace("_", " "))


def is_fraction_of_images(name: str) -> bool:
    """Return whether a metric is a fraction of the images: the accuracy, or a top-k error."""
    return name == "accuracy" or name.endswith("_error")


def higher_is_better(name: str) -> bool:
    """Return whether a higher value of the metric is a better one."""
    return name != "log_loss" and not name.endswith("_error")
