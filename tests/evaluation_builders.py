"""Predictions for drawn validation images, and what a figure shows of them."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from matplotlib.figure import Figure

from imagepipe.dataset.submission_form import MetricChoice
from imagepipe.display.figures import save_figure
from imagepipe.evaluation.evaluation_file import Evaluation
from imagepipe.evaluation.validation_results import evaluate
from imagepipe.metrics.decisions import NO_THRESHOLDS, Thresholds
from imagepipe.prediction.logits import Predictions

ACCURACY = MetricChoice("accuracy")
SVG = "{http://www.w3.org/2000/svg}"


def drawn_predictions(
    images: int,
    classes: int | list[str],
    *,
    skill: float = 2.0,
    several_labels: bool = False,
    absent: tuple[int, ...] = (),
    seed: int = 0,
) -> tuple[Predictions, np.ndarray]:
    """Return predictions and labels that agree better than by chance, the more the `skill`.

    absent: the classes that no image has.
    """
    rng = np.random.default_rng(seed)
    names = [f"class {i}" for i in range(classes)] if isinstance(classes, int) else classes
    count = len(names)
    if several_labels:
        labels = (rng.random((images, count)) < np.linspace(0.5, 0.1, count)).astype(np.int64)
        labels[:, list(absent)] = 0
        logits = rng.normal(size=(images, count)) + skill * (labels - 0.5)
    else:
        present = [i for i in range(count) if i not in absent]
        labels = rng.choice(present, size=images)
        logits = rng.normal(size=(images, count)) + skill * np.eye(count)[labels]
    ids = np.array([f"image {i}" for i in range(images)])
    predictions = Predictions(ids, logits.astype(np.float32), np.array(names), several_labels)
    return predictions, labels


def drawn_evaluation(
    images: int,
    classes: int | list[str],
    *,
    metric: MetricChoice = ACCURACY,
    thresholds: Thresholds = NO_THRESHOLDS,
    **drawing: object,
) -> Evaluation:
    """Return the results of `drawn_predictions`, which has the arguments `drawing`.

    Image i is in row i.
    """
    predictions, labels = drawn_predictions(images, classes, **drawing)  # type: ignore[arg-type]
    return evaluate(predictions, labels, range(images), metric, thresholds)


def shown_texts(figure: Figure, folder: Path) -> list[str]:
    """Return the lines of text in a figure, as its SVG file has them. Call it inside `styled`."""
    save_figure(figure, folder / "figure.svg")
    root = ElementTree.fromstring((folder / "figure.svg").read_bytes())
    return ["".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")]
