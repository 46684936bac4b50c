"""The metric of a submission's fields, given the true labels."""

from collections.abc import Sequence

import numpy as np

from imagepipe.config.metric_names import k_of_metric
from imagepipe.dataset.submission_form import MetricChoice, SubmissionForm
from imagepipe.files import nfc
from imagepipe.metrics.metric import compute_metric, map_at_k, top_k_error

ACCURACY = MetricChoice("accuracy")


def evaluate(
    form: SubmissionForm,
    metric: MetricChoice,
    guesses: Sequence[Sequence[str]],
    truth: Sequence[Sequence[str]],
    *,
    several: bool = False,
) -> tuple[float | None, float | None]:
    """Return the accuracy and the metric; None where they are not defined.

    guesses: for each image, the submission's fields beside the id. truth: its labels; `several`
    says that it may have several, as does an image that has not one.
    """
    several = several or form.name == "several_labels" or any(len(labels) != 1 for labels in truth)
    if form.name == "top_k" or (form.name == "label" and k_of_metric(metric.name)):
        return _of_rankings(form, metric, guesses, truth)
    if form.name == "probability":
        positive = str(form.positive)
        classes = [f"not {positive}", positive]
        chances = np.array([float(fields[0]) for fields in guesses])
        probabilities = np.stack([1 - chances, chances], axis=1)
        labels = np.array([int(positive in one) for one in truth])
    else:
        if form.name == "probabilities":
            names = zip(form.header[1:], form.columns, strict=True)
            classes = [name or nfc(header) for header, name in names]
            probabilities = np.array([[float(field) for field in fields] for fields in guesses])
        else:
            separator = form.separator if form.name == "several_labels" else None
            predicted = [_split(fields[0], separator) for fields in guesses]
            found = {label for labels in (*predicted, *truth) for label in labels}
            classes = sorted(found | ({metric.positive} if metric.positive else set()))
            probabilities = _indicator(predicted, classes)
        # A class that only the truth has: nothing was predicted for it.
        unknown = sorted({label for labels in truth for label in labels} - set(classes))
        classes = [*classes, *unknown]
        probabilities = np.pad(probabilities, ((0, 0), (0, len(unknown))))
        indicator = _indicator(truth, classes)
        labels = indicator.astype(np.int64) if several else indicator.argmax(axis=1)
    accuracy = compute_metric(ACCURACY, probabilities, labels, classes)
    if metric.name == "accuracy":
        return accuracy, accuracy
    return accuracy, compute_metric(metric, probabilities, labels, classes)


def _split(field: str, separator: str | None) -> list[str]:
    labels = field.split(separator) if separator else [field]
    return [label for label in labels if label]


def _indicator(labels: Sequence[Sequence[str]], classes: Sequence[str]) -> np.ndarray:
    """Return 1 for the classes that each image has, else 0, float64 [N, classes]."""
    column_of = {name: column for column, name in enumerate(classes)}
    columns = [column_of[name] for names in labels for name in names]
    rows = np.repeat(np.arange(len(labels)), [len(names) for names in labels])
    indicator = np.zeros((len(labels), len(classes)))
    indicator[rows, columns] = 1
    return indicator


def _of_rankings(
    form: SubmissionForm,
    metric: MetricChoice,
    guesses: Sequence[Sequence[str]],
    truth: Sequence[Sequence[str]],
) -> tuple[float | None, float | None]:
    """Return what `evaluate` does, for lists of labels, the likeliest first."""
    k = k_of_metric(metric.name) or 1
    separator = (form.separator or " ") if form.name == "top_k" else None
    is_hit = np.zeros((len(truth), k), dtype=bool)
    for row, (fields, labels) in enumerate(zip(guesses, truth, strict=True)):
        ranking = _split(fields[0], separator)
        for place, label in enumerate(ranking[:k]):
            is_hit[row, place] = label in labels
    accuracy = float(is_hit[:, 0].mean())
    if metric.name.startswith("map_at"):
        return accuracy, map_at_k(is_hit, np.array([len(labels) for labels in truth]))
    if k_of_metric(metric.name):
        return accuracy, top_k_error(is_hit)
    label_form = SubmissionForm("label", form.header)
    first = [_split(fields[0], separator)[:1] for fields in guesses]
    return evaluate(label_form, metric, first, truth)
