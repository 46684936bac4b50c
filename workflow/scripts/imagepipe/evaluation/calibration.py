"""How well the model's confidences agree with how often it is right."""

import numpy as np

from imagepipe.evaluation.evaluation_file import Calibration, CalibrationBin

BINS = 15


def calibrate(probabilities: np.ndarray, labels: np.ndarray) -> Calibration:
    """Return the expected calibration error, and the bins that it is computed from.

    The error is the mean distance between confidence and accuracy in 15 bins of equal width, each
    weighted by its predictions: Guo, Pleiss, Sun and Weinberger (2017), "On calibration of modern
    neural networks", equation 3. A bin has its upper edge, but not its lower one.

    probabilities: float64 [N, classes]. labels: int [N], positions of classes, or 0 and 1
    [N, classes] if an image may have several labels. See `Calibration` for what a prediction is.
    """
    if labels.ndim == 2:
        confidence, is_right = probabilities.ravel(), labels.ravel() == 1
    else:
        confidence = probabilities.max(axis=1)
        is_right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, BINS + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BINS - 1)
    number = np.bincount(place, minlength=BINS)
    filled = np.maximum(number, 1)
    mean_confidence = np.bincount(place, confidence, BINS) / filled
    accuracy = np.bincount(place, is_right, BINS) / filled
    bins = [
        CalibrationBin(
            float(edges[i]),
            float(edges[i + 1]),
            int(number[i]),
            float(mean_confidence[i]) if number[i] else None,
            float(accuracy[i]) if number[i] else None,
        )
        for i in range(BINS)
    ]
    error = number @ abs(accuracy - mean_confidence) / len(confidence)
    return Calibration(float(error), float(confidence.mean()), float(is_right.mean()), bins)
