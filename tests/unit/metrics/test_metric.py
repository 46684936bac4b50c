"""The metrics are those of scikit-learn, or of the formula's source, on the same predictions."""

import subprocess
import sys
import warnings
from itertools import pairwise

import numpy as np
import pytest
from sklearn import metrics as sklearn

from builders import SCRIPTS, refused
from imagepipe.dataset.submission_form import MetricChoice
from imagepipe.metrics.metric import compute_metric

CLASSES = ("0", "1", "2", "3")


def drawn(seed: int, classes: int = 4, images: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return random probabilities and labels that agree better than by chance."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=images)
    probabilities = rng.dirichlet(np.ones(classes), images) + 0.4 * np.eye(classes)[labels]
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


def drawn_several(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((60, 4)) < 0.4).astype(np.int64)
    return np.clip(rng.random((60, 4)) * 0.7 + labels * 0.3, 0, 1), labels


ONE_LABEL = {
    "accuracy": lambda p, y: sklearn.accuracy_score(y, p.argmax(axis=1)),
    "top_2_error": lambda p, y: 1 - sklearn.top_k_accuracy_score(y, p, k=2, labels=range(4)),
    "top_3_error": lambda p, y: 1 - sklearn.top_k_accuracy_score(y, p, k=3, labels=range(4)),
    "log_loss": lambda p, y: sklearn.log_loss(y, p, labels=range(4)),
    "mean_column_roc_auc": lambda p, y: sklearn.roc_auc_score(np.eye(4)[y], p, average="macro"),
    "f1_micro": lambda p, y: sklearn.f1_score(y, p.argmax(axis=1), average="micro"),
    "f1_macro": lambda p, y: sklearn.f1_score(y, p.argmax(axis=1), average="macro"),
    "f1_samples": lambda p, y: sklearn.f1_score(
        np.eye(4)[y], np.eye(4)[p.argmax(axis=1)], average="samples"
    ),
    "f2": lambda p, y: sklearn.fbeta_score(
        np.eye(4)[y], np.eye(4)[p.argmax(axis=1)], beta=2, average="samples"
    ),
    "quadratic_weighted_kappa": lambda p, y: sklearn.cohen_kappa_score(
        y, p.argmax(axis=1), weights="quadratic"
    ),
    "map_at_3": lambda p, y: kaggle_map_at_k([[one] for one in y], p, 3),
}
TWO_CLASSES = {
    "roc_auc": lambda p, y: sklearn.roc_auc_score(y == 0, p[:, 0]),
    "f1": lambda p, y: sklearn.f1_score(y == 0, p[:, 0] > 0.5),
    "f2": lambda p, y: sklearn.fbeta_score(y == 0, p[:, 0] > 0.5, beta=2),
    "log_loss": lambda p, y: sklearn.log_loss(y, p[:, 1]),
}
SEVERAL_LABELS = {
    "accuracy": lambda p, y: sklearn.accuracy_score(y, p >= 0.5),
    "log_loss": lambda p, y: np.mean([sklearn.log_loss(y[:, c], p[:, c]) for c in range(4)]),
    "mean_column_roc_auc": lambda p, y: sklearn.roc_auc_score(y, p, average="macro"),
    "f1_micro": lambda p, y: sklearn.f1_score(y, p >= 0.5, average="micro"),
    "f1_macro": lambda p, y: sklearn.f1_score(y, p >= 0.5, average="macro"),
    "f1_samples": lambda p, y: sklearn.f1_score(y, p >= 0.5, average="samples", zero_division=0),
    "f2": lambda p, y: sklearn.fbeta_score(y, p >= 0.5, beta=2, average="samples", zero_division=0),
    "map_at_3": lambda p, y: kaggle_map_at_k([np.flatnonzero(one) for one in y], p, 3),
}


def kaggle_map_at_k(truth: list, probabilities: np.ndarray, k: int) -> float:
    """Return MAP@k by the function that Kaggle's competitions link to (benhamner/Metrics)."""

    def average_precision(actual: list[int], predicted: list[int]) -> float:
        score, hits = 0.0, 0.0
        for i, p in enumerate(predicted[:k]):
            if p in actual and p not in predicted[:i]:
                hits += 1.0
                score += hits / (i + 1.0)
        return score / min(len(actual), k) if len(actual) else 0.0

    rankings = [list(np.argsort(-row)) for row in probabilities]
    return float(
        np.mean([average_precision(list(a), p) for a, p in zip(truth, rankings, strict=True)])
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ONE_LABEL)
def test_metric_of_one_label_is_scikit_learns(name: str, seed: int) -> None:
    probabilities, labels = drawn(seed)
    value = compute_metric(MetricChoice(name), probabilities, labels, CLASSES)
    assert value == pytest.approx(ONE_LABEL[name](probabilities, labels), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", TWO_CLASSES)
def test_metric_of_two_classes_is_that_of_the_positive_one(name: str, seed: int) -> None:
    probabilities, labels = drawn(seed, classes=2)
    value = compute_metric(MetricChoice(name, "cat"), probabilities, labels, ("cat", "dog"))
    assert value == pytest.approx(TWO_CLASSES[name](probabilities, labels), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SEVERAL_LABELS)
def test_metric_of_several_labels_is_scikit_learns(name: str, seed: int) -> None:
    probabilities, labels = drawn_several(seed)
    value = compute_metric(MetricChoice(name), probabilities, labels, CLASSES)
    assert value == pytest.approx(SEVERAL_LABELS[name](probabilities, labels), abs=1e-12)


def test_kappa_goes_by_the_classes_numbers_and_not_by_their_text() -> None:
    classes = ("0", "1", "10", "2", "4")  # sorted as text, and 3 is missing
    probabilities, labels = drawn(0, classes=5)
    numbers = np.array([0, 1, 10, 2, 4])
    value = compute_metric(MetricChoice("quadratic_weighted_kappa"), probabilities, labels, classes)
    expected = sklearn.cohen_kappa_score(
        numbers[labels],
        numbers[probabilities.argmax(axis=1)],
        weights="quadratic",
        labels=range(11),
    )
    assert value == pytest.approx(expected, abs=1e-12)


def test_kappa_of_words_is_refused() -> None:
    with refused("quadratic_weighted_kappa", "cat"):
        compute_metric(
            MetricChoice("quadratic_weighted_kappa"), *drawn(0, classes=2), ("cat", "dog")
        )


def test_log_loss_of_a_wrong_certainty_is_that_of_kaggles_bound() -> None:
    probabilities = np.array([[1.0, 0.0], [0.0, 1.0]])
    value = compute_metric(MetricChoice("log_loss"), probabilities, np.array([1, 1]), ("a", "b"))
    assert value == pytest.approx(-np.log(1e-15) / 2)


def test_rows_that_do_not_add_up_to_one_are_scaled_for_the_log_loss() -> None:
    probabilities, labels = drawn(0)
    half = compute_metric(MetricChoice("log_loss"), probabilities / 2, labels, CLASSES)
    assert half == pytest.approx(sklearn.log_loss(labels, probabilities), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("roc_auc", [0, 0]),
        ("roc_auc", [1, 1]),
        ("mean_column_roc_auc", [1, 1]),
        ("quadratic_weighted_kappa", [0, 0]),
        ("accuracy", []),
        ("log_loss", []),
    ],
)
def test_metric_that_is_not_defined_is_none(name: str, labels: list[int]) -> None:
    probabilities = np.array([[0.9, 0.1]] * len(labels)).reshape(-1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        array = np.array(labels, dtype=np.int64)
        assert compute_metric(MetricChoice(name, "1"), probabilities, array, ("0", "1")) is None


def test_a_class_without_images_does_not_count_for_the_mean_of_the_columns() -> None:
    probabilities, labels = drawn(0, classes=3)
    wide = np.pad(probabilities, ((0, 0), (0, 1)))
    choice = MetricChoice("mean_column_roc_auc")
    expected = compute_metric(choice, probabilities, labels, CLASSES[:3])
    assert compute_metric(choice, wide, labels, CLASSES) == expected


def test_f1_of_images_without_any_positive_is_0_without_a_warning() -> None:
    probabilities = np.array([[0.9, 0.1]] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("f1", "f1_macro", "f1_samples"):
            value = compute_metric(
                MetricChoice(name, "1"), probabilities, np.array([1, 1, 1]), ("0", "1")
            )
            assert value == 0


@pytest.mark.parametrize("name", ["f1_micro", "f1_macro", "f1_samples", "f2"])
def test_f_of_several_labels_with_one_class_is_that_of_the_class(name: str) -> None:
    truth = np.array([[1], [1], [0], [0], [0]])
    probabilities = np.array([[0.9], [0.2], [0.7], [0.1], [0.1]])
    value = compute_metric(MetricChoice(name), probabilities, truth, ["a"])
    # Of each image: 1 for the right one, and 0 without one.
    assert value == pytest.approx(0.2 if name in ("f1_samples", "f2") else 0.5)


def test_k_above_the_number_of_classes_finds_every_label() -> None:
    probabilities, labels = drawn(0)
    assert compute_metric(MetricChoice("top_9_error"), probabilities, labels, CLASSES) == 0
    values = [
        compute_metric(MetricChoice(f"map_at_{k}"), probabilities, labels, CLASSES)
        for k in (1, 2, 3, 4, 9)
    ]
    assert values[3] == values[4]
    assert all(a <= b for a, b in pairwise(values))


def test_accuracy_log_loss_and_map_do_not_import_scikit_learn() -> None:
    code = (
        "import sys, numpy as np\n"
        "from imagepipe.dataset.submission_form import MetricChoice\n"
        "from imagepipe.metrics.metric import compute_metric\n"
        "import imagepipe.metrics.thresholds\n"
        "for name in ('accuracy', 'log_loss', 'map_at_2', 'quadratic_weighted_kappa'):\n"
        "    compute_metric(MetricChoice(name), np.eye(2), np.array([0, 1]), ('0', '1'))\n"
        "assert not {'sklearn', 'scipy', 'torch', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(SCRIPTS)})
