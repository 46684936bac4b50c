"""The figures of the surest mistakes and of the least sure hits."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from imagepipe.display.sentence import draw_sentence
from imagepipe.evaluation.evaluation_file import Evaluation, Prediction, label_words
from imagepipe.evaluation.picture_grid import caption_line, draw_grid


def draw_mistakes(evaluation: Evaluation, images: np.ndarray) -> Figure:
    """Draw the surest mistakes of images uint8 [N, H, W, 3]. Call it inside `figures.styled`."""
    shown, number = evaluation.mistakes, evaluation.mistake_count
    if not shown:
        words = f"The model is right on {_images(evaluation.images)}: it makes no mistake."
        return draw_sentence(words, "The surest mistakes")
    several = evaluation.several_labels
    captions = [
        f"{caption_line(label_words(one.true, several=several))}\n"
        f"{prediction_caption(one, '→ ', several=several)}"
        for one in shown
    ]
    if len(shown) < number:
        title = f"The surest {len(shown)} of {number:,} mistakes"
    else:
        title = f"All {number} mistakes" if number > 1 else "The only mistake"
    return draw_grid(_pictures(shown, images), captions, f"{title}: true → predicted, id")


def draw_unsure_hits(evaluation: Evaluation, images: np.ndarray) -> Figure:
    """Draw the least sure hits of images uint8 [N, H, W, 3]. Call it inside `figures.styled`."""
    shown, number = evaluation.unsure_hits, evaluation.images - evaluation.mistake_count
    if not shown:
        words = f"The model is wrong on {_images(evaluation.images)}."
        return draw_sentence(words, "The least sure hits")
    captions = [prediction_caption(one, several=evaluation.several_labels) for one in shown]
    if len(shown) < number:
        title = f"The least sure {len(shown)} of {number:,} right predictions"
    else:
        title = f"All {number} right predictions" if number > 1 else "The only right prediction"
    return draw_grid(_pictures(shown, images), captions, title)


def _images(number: int) -> str:
    return f"all {number:,} validation images" if number > 1 else "the only validation image"


def prediction_caption(prediction: Prediction, before: str = "", *, several: bool) -> str:
    """Return a line with the predicted label and its probability, and one with the image's id."""
    percent = f", {100 * prediction.probability:.0f} %"
    line = caption_line(label_words(prediction.predicted, several=several), before, percent)
    return f"{line}\n{caption_line(prediction.id)}"


def _pictures(predictions: Sequence[Prediction], images: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(images[one.row]) for one in predictions]
