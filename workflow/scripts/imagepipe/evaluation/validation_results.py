"""What is known from the logits of the validation images."""

from collections.abc import Sequence

import numpy as np

from imagepipe.config.metric_names import is_fraction_of_images
from imagepipe.dataset.submission_form import MetricChoice
from imagepipe.errors import UserError, quoted
from imagepipe.evaluation.bootstrap import bootstrap_interval
from imagepipe.evaluation.calibration import calibrate
from imagepipe.evaluation.class_results import (
    MATRIX_CLASSES,
    class_results,
    confused_pairs,
    confusion_counts,
)
from imagepipe.evaluation.evaluation_file import (
    ON_THESE_IMAGES,
    ClassResult,
    Estimate,
    Evaluation,
)
from imagepipe.evaluation.intervals import F1_WILSON, WILSON, estimate, f1_interval, wilson
from imagepipe.evaluation.shown_predictions import mistakes_and_hits
from imagepipe.metrics.decisions import NO_THRESHOLDS, Thresholds, decide
from imagepipe.metrics.metric import compute_metric
from imagepipe.prediction.logits import Predictions

ACCURACY = MetricChoice("accuracy")
MACRO_F1 = MetricChoice("f1_macro")


def evaluate(
    predictions: Predictions,
    labels: np.ndarray,
    rows: Sequence[int],
    metric: MetricChoice,
    thresholds: Thresholds = NO_THRESHOLDS,
) -> Evaluation:
    """Return the results of predictions for validation images, of which there is at least one.

    labels: see `write_predictions`. rows: the position of each image in the packed array.
    """
    probabilities, classes = predictions.probabilities(), predictions.classes.tolist()
    decided = decide(
        probabilities, classes, thresholds, several_labels=predictions.several_labels
    ).astype(np.int64)
    by_class = class_results(labels, decided, classes)
    counts = confusion_counts(labels, decided, len(classes))
    is_right = (decided == labels).reshape(len(labels), -1).all(axis=1)
    of_images = (probabilities, labels, classes)
    metric_value, interval_method = _with_interval(metric, *of_images, thresholds, by_class)
    macro_f1, macro_f1_method = _with_interval(MACRO_F1, *of_images, thresholds, by_class)
    mistakes, hits = mistakes_and_hits(
        predictions.ids.tolist(), rows, probabilities, labels, decided, classes
    )
    return Evaluation(
        images=len(labels),
        classes=classes,
        several_labels=predictions.several_labels,
        metric=metric.name,
        metric_value=metric_value,
        interval_method=interval_method,
        accuracy=_with_interval(ACCURACY, *of_images, NO_THRESHOLDS, by_class)[0],
        majority=float(np.unique(labels, axis=0, return_counts=True)[1].max() / len(labels)),
        decision=decision_words(thresholds, several_labels=predictions.several_labels),
        decision_accuracy=estimate(*map(float, wilson(int(is_right.sum()), len(labels)))),
        mistake_count=int((~is_right).sum()),
        macro_f1=macro_f1,
        macro_f1_method=macro_f1_method,
        by_class=by_class,
        confusion=(
            counts.tolist() if labels.ndim == 1 and len(classes) <= MATRIX_CLASSES else None
        ),
        confused=confused_pairs(counts, [one.images for one in by_class], classes),
        calibration=calibrate(probabilities, labels),
        mistakes=mistakes,
        unsure_hits=hits,
    )


def find_rows(ids: Sequence[str], packed_ids: Sequence[str]) -> list[int]:
    """Return the position of each image in the packed array, whose rows have the ids `packed_ids`.

    Raises `UserError` if an image is not there.
    """
    position = {image_id: row for row, image_id in enumerate(packed_ids)}
    try:
        return [position[image_id] for image_id in ids]
    except KeyError as missing:
        raise UserError(
            f"the validation image {missing} is not among the packed ones; "
            "run again with --forcerun pack"
        ) from None


def decision_words(thresholds: Thresholds, *, several_labels: bool) -> str:
    """Return in a few words how classes are decided."""
    if thresholds.kind == "ordinal":
        return f"the expected number, rounded at thresholds {ON_THESE_IMAGES}"
    if thresholds.kind == "one" and thresholds.positive is not None:
        positive, value = quoted(thresholds.positive), thresholds.values[0]
        return f"{positive} from a probability of {value:.3g} on, {ON_THESE_IMAGES}"
    if not several_labels:
        return "the likeliest class"
    if thresholds.kind == "none":
        return "all classes with a probability of at least 0.5"
    own = thresholds.kind == "per_class"
    limit = "the class's own threshold" if own else f"{thresholds.values[0]:.3g}"
    more = ", or else the likeliest one" if thresholds.at_least_one else ""
    return f"all classes with a probability of at least {limit}{more}, {ON_THESE_IMAGES}"


def _with_interval(
    choice: MetricChoice,
    probabilities: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    thresholds: Thresholds,
    by_class: Sequence[ClassResult],
) -> tuple[Estimate, str]:
    """Return a metric with its interval, and how the interval was computed, in a few words.

    by_class: the results of the classes with the same thresholds.
    """
    images = len(labels)
    value = compute_metric(choice, probabilities, labels, classes, thresholds)
    if value is None:
        return Estimate(None, None, None), "none: the metric is not defined for these images"
    if is_fraction_of_images(choice.name):
        _, low, high = wilson(round(value * images), images)
        return estimate(value, float(low), float(high)), WILSON
    if choice.name == "f1" and (choice.positive or (labels.ndim == 1 and len(classes) == 2)):
        one = by_class[classes.index(choice.positive or classes[-1])]
        _, low, high = f1_interval(one.hits, one.images, one.predicted)
        return estimate(value, float(low), float(high)), F1_WILSON
    low_or_none, high_or_none, resamples = bootstrap_interval(
        choice, probabilities, labels, classes, thresholds
    )
    if low_or_none is None:
        return estimate(value, None, None), "none: the images do not show how far it would vary"
    method = f"bootstrap over the images, {resamples:,} resamples"
    return estimate(value, low_or_none, high_or_none), method
