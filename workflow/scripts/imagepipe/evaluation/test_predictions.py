"""What is known from the logits of the test images, whose labels are not known."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imagepipe.dataset.manifests import CLASS_SEPARATOR
from imagepipe.errors import UserError
from imagepipe.evaluation.evaluation_file import ClassShare, Prediction, TestPredictions
from imagepipe.evaluation.shown_predictions import MOST_SHOWN, label_name, label_probabilities
from imagepipe.files import read_rows
from imagepipe.metrics.decisions import NO_THRESHOLDS, Thresholds, decide
from imagepipe.prediction.logits import Predictions, mean_probabilities

CONFIDENCE_BINS = 20


def summarize_predictions(
    members: Sequence[Predictions],
    labels: Sequence[str],
    thresholds: Thresholds = NO_THRESHOLDS,
) -> TestPredictions:
    """Return a summary of the mean predictions of the `members` for the test images.

    Predictions are those of the submission: the members' mean probabilities, decided by the
    `thresholds`. labels: those of the labelled images, as in their table.
    """
    first = members[0]
    classes: list[str] = first.classes.tolist()
    several = first.several_labels

    def decided_by(probabilities: np.ndarray) -> np.ndarray:
        return decide(probabilities, classes, thresholds, several_labels=several)

    agreement = None
    if len(members) > 1 and len(first.ids):
        own = np.stack([decided_by(member.probabilities()) for member in members])
        agreement = float((own == own[0]).reshape(*own.shape[:2], -1).all(axis=(0, 2)).mean())
    probabilities = mean_probabilities(members)
    decided = decided_by(probabilities)
    confidences = label_probabilities(probabilities, decided).mean(axis=1)
    if several:
        counts = decided.sum(axis=0)
        label_counts = Counter(name for label in labels for name in label.split(CLASS_SEPARATOR))
    else:
        counts = np.bincount(decided, minlength=len(classes))
        label_counts = Counter(labels)
    least_sure = np.argsort(confidences, kind="stable")

    def prediction(row: int) -> Prediction:
        names = label_name(decided[row], classes)
        return Prediction(str(first.ids[row]), row, None, names, float(confidences[row]), None)

    return TestPredictions(
        images=len(decided),
        members=len(members),
        several_labels=several,
        mean_confidence=float(confidences.mean()) if len(decided) else None,
        agreement=agreement,
        by_class=[
            ClassShare(
                name,
                predicted=int(count),
                share=int(count) / max(1, len(decided)),
                labelled_share=label_counts[name] / max(1, len(labels)),
            )
            for name, count in zip(classes, counts, strict=True)
        ],
        confidences=np.histogram(confidences, CONFIDENCE_BINS, (0, 1))[0].tolist(),
        least_sure=[prediction(int(row)) for row in least_sure[:MOST_SHOWN]],
    )


def check_ids(predictions: Predictions, table: Path) -> None:
    """Raise `UserError` if the predictions are not of the images of a packed array's table."""
    if [image_id for _, (image_id,) in read_rows(table, ("id",))] != predictions.ids.tolist():
        raise UserError(
            f"{table}: has other images than the predictions; run again with --forcerun predict"
        )
