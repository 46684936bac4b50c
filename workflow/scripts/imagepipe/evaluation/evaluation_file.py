"""What the stages `evaluate` and `test_predictions` write for the report, as JSON files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pydantic

from imagepipe.dataset.manifests import CLASS_SEPARATOR
from imagepipe.errors import UserError
from imagepipe.files import write_text

Content = TypeVar("Content")
# How `Evaluation.decision` ends where thresholds were chosen on the validation images.
ON_THESE_IMAGES = "found on these images"


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % confidence interval. None: not defined, as the recall of no images."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClassResult:
    """How well a class of the validation images is found.

    images: those that have the class. predicted: those that it was predicted for. hits: those that
    are both. precision: the fraction right of the predicted. recall: the fraction found of the
    images. f1: their harmonic mean. accuracy: the fraction of all images, of this class or not,
    that are right about it.
    """

    name: str
    images: int
    predicted: int
    hits: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    accuracy: Estimate


@dataclass(frozen=True)
class ConfusedPair:
    """`images` images of the class `true` were taken for `predicted`: `share` of that class.

    If images may have several labels: `true` was missed, and `predicted` is wrong.
    """

    true: str
    predicted: str
    images: int
    share: float


@dataclass(frozen=True)
class CalibrationBin:
    """The predictions with a confidence from `low` to `high`: their mean confidence and accuracy.

    Both are None in an empty bin.
    """

    low: float
    high: float
    predictions: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """How well confidences agree with accuracies; `ece` is the expected calibration error.

    A prediction is an image's likeliest class, its confidence the class's probability, and its
    accuracy the fraction that are right. If images may have several labels, it is each pair of an
    image and a class, and its accuracy the fraction of the images that have the class. Thresholds
    change nothing here.
    """

    ece: float
    mean_confidence: float
    accuracy: float
    bins: Sequence[CalibrationBin]


@dataclass(frozen=True)
class Prediction:
    """The prediction for an image; `row` is its position in the packed array.

    true: None for a test image. true, predicted: the class's name, of several labels all names,
    separated by "|". probability: that of `predicted` (of several labels, the mean over the classes
    of the probability of what was decided). true_probability: that of `true`, in the same way.
    """

    id: str
    row: int
    true: str | None
    predicted: str
    probability: float
    true_probability: float | None


@dataclass(frozen=True)
class Evaluation:
    """The results on the validation images, of which there is at least one.

    metric: the competition's metric by its name in `config/metric_names.py`, and `metric_value`,
    which is the accuracy's if that is the metric. interval_method, macro_f1_method: how the
    intervals of the metric and of the macro F1 were computed, in a few words; those of proportions
    are Wilson's. accuracy: as in metrics.json, that of the likeliest class or, of several labels,
    the fraction of images with all labels right at a probability of 0.5. majority: the accuracy of
    always predicting the most frequent class (or set of labels) of the validation images.

    The other fields are about the decisions of the submission, which `decision` explains in a few
    words. They have their own `decision_accuracy`, the same as `accuracy` without thresholds.
    mistake_count: the images with a wrong decision. confusion: the number of images of each class
    (row) for each prediction (column), None with several labels or many classes. confused: the most
    confused pairs, most images first. mistakes: the surest mistakes first. unsure_hits: right, the
    least sure first. Of both, at most 12.
    """

    images: int
    classes: Sequence[str]
    several_labels: bool
    metric: str
    metric_value: Estimate
    interval_method: str
    accuracy: Estimate
    majority: float
    decision: str
    decision_accuracy: Estimate
    mistake_count: int
    macro_f1: Estimate
    macro_f1_method: str
    by_class: Sequence[ClassResult]
    confusion: Sequence[Sequence[int]] | None
    confused: Sequence[ConfusedPair]
    calibration: Calibration
    mistakes: Sequence[Prediction]
    unsure_hits: Sequence[Prediction]


@dataclass(frozen=True)
class ClassShare:
    """A class, how often it is predicted in the test set, and its share there and in training."""

    name: str
    predicted: int
    share: float
    labelled_share: float


@dataclass(frozen=True)
class TestPredictions:
    """The predictions for the test images, averaged over the `members`.

    agreement: the fraction of images for which all members predict the same; None for one member.
    confidences: the number of images in each of 20 equal bins of the confidence, from 0 to 1, which
    is that of `Prediction.probability`. least_sure: at most 12.
    """

    images: int
    members: int
    several_labels: bool
    mean_confidence: float | None
    agreement: float | None
    by_class: Sequence[ClassShare]
    confidences: Sequence[int]
    least_sure: Sequence[Prediction]


def label_words(label: str | None, *, several: bool, none: str = "(no label)") -> str:
    """Return an image's class, or all that it has; `none` stands for no class."""
    if not label:
        return none
    return label.replace(CLASS_SEPARATOR, " + ") if several else label


def write_results(path: Path, results: Evaluation | TestPredictions) -> None:
    """Write results as JSON."""
    content = pydantic.TypeAdapter(type(results)).dump_json(results, indent=1)
    write_text(path, content.decode() + "\n")


def read_results(path: Path, kind: type[Content]) -> Content:
    """Read results of a kind. Raises `UserError` if another version wrote the file."""
    try:
        return pydantic.TypeAdapter(kind).validate_json(path.read_bytes())
    except pydantic.ValidationError:
        raise UserError(f"{path}: cannot be read; remove it, and call again") from None
