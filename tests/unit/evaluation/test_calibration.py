"""The expected calibration error is that of its definition, image by image."""

import numpy as np
import pytest

from evaluation_builders import drawn_predictions
from imagepipe.evaluation.calibration import BINS, calibrate


def plain_error(confidences: list[float], hits: list[bool]) -> float:
    """Return the error as Guo et al. (2017) define it: the bin m is ((m - 1) / M, m / M]."""
    error = 0.0
    for m in range(1, 16):
        members = [i for i, c in enumerate(confidences) if (m - 1) / 15 < c <= m / 15]
        if m == 1:
            members += [i for i, c in enumerate(confidences) if c == 0]
        if members:
            accuracy = sum(hits[i] for i in members) / len(members)
            confidence = sum(confidences[i] for i in members) / len(members)
            error += len(members) / len(confidences) * abs(accuracy - confidence)
    return error


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("skill", [0.0, 2.0, 20.0])
def test_error_of_one_label(seed: int, skill: float) -> None:
    predictions, labels = drawn_predictions(150, 2 + seed, skill=skill, seed=seed)
    probabilities = predictions.probabilities()
    result = calibrate(probabilities, labels)
    confidences = [float(max(row)) for row in probabilities]
    hits = [int(np.argmax(row)) == label for row, label in zip(probabilities, labels, strict=True)]
    assert result.ece == pytest.approx(plain_error(confidences, hits), abs=1e-12)
    assert result.mean_confidence == pytest.approx(sum(confidences) / 150)
    assert result.accuracy == pytest.approx(sum(hits) / 150)


@pytest.mark.parametrize("seed", range(5))
def test_error_is_that_of_torchmetrics_where_no_confidence_is_on_an_edge(seed: int) -> None:
    # torchmetrics.functional.classification.calibration_error._ce_compute, norm "l1".
    predictions, labels = drawn_predictions(300, 4, seed=seed)
    probabilities = predictions.probabilities()
    confidences, hits = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bucket = np.digitize(confidences, np.linspace(0, 1, 16)) - 1
    counts = np.bincount(bucket, minlength=15)
    with np.errstate(invalid="ignore"):
        accuracy = np.nan_to_num(np.bincount(bucket, hits, 15) / counts)
        confidence = np.nan_to_num(np.bincount(bucket, confidences, 15) / counts)
    expected = np.sum(np.abs(accuracy - confidence) * counts / counts.sum())
    assert calibrate(probabilities, labels).ece == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_error_of_several_labels_is_that_of_each_class_of_each_image(seed: int) -> None:
    predictions, labels = drawn_predictions(60, 4, several_labels=True, seed=seed)
    probabilities = predictions.probabilities()
    result = calibrate(probabilities, labels)
    pairs = [(float(probabilities[i, c]), bool(labels[i, c])) for i in range(60) for c in range(4)]
    expected = plain_error([p for p, _ in pairs], [here for _, here in pairs])
    assert result.ece == pytest.approx(expected, abs=1e-12)
    assert result.accuracy == pytest.approx(labels.mean())


def test_bins_have_equal_widths_and_all_predictions() -> None:
    predictions, labels = drawn_predictions(100, 3)
    bins = calibrate(predictions.probabilities(), labels).bins
    assert len(bins) == BINS == 15
    assert [one.low for one in bins] == pytest.approx([i / 15 for i in range(15)])
    assert [one.high for one in bins] == pytest.approx([(i + 1) / 15 for i in range(15)])
    assert sum(one.predictions for one in bins) == 100
    for one in bins:
        if one.predictions == 0:
            assert one.confidence is one.accuracy is None
        else:
            assert one.low <= one.confidence <= one.high


def test_a_confidence_on_an_edge_is_in_the_lower_bin() -> None:
    probabilities = np.array([[0.0, 1.0, 0.2, 0.4]])
    bins = calibrate(probabilities, np.array([[0, 1, 0, 1]])).bins
    assert [i for i, one in enumerate(bins) if one.predictions] == [0, 2, 5, 14]


def test_a_model_that_says_how_often_it_is_right_has_no_error() -> None:
    rng = np.random.default_rng(0)
    chance = rng.random(200_000)
    labels = (rng.random(200_000) < chance).astype(np.int64)
    probabilities = np.stack([1 - chance, chance], axis=1)
    assert calibrate(probabilities, labels).ece < 0.01
    too_sure = probabilities**4 / (probabilities**4).sum(axis=1, keepdims=True)
    assert calibrate(too_sure, labels).ece > 0.1
