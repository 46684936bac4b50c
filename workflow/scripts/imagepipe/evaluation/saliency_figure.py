"""The figure of where the network looks in its worst mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageFilter

from imagepipe.dataset.manifests import CLASS_SEPARATOR
from imagepipe.evaluation.evaluation_file import Evaluation, Prediction, label_words
from imagepipe.evaluation.picture_grid import LONGEST_SIDE, caption_line, draw_grid

MAX_IMAGES = 6
COLUMNS = 3
COLUMN_TITLES = ("image", "predicted class", "true class")
SEVERAL_LABELS_TITLES = ("image", "wrong label", "missing label")
# Where the network does not look, a picture has no color, and so much of its brightness.
DIMMED = 0.45
# Weights of red, green and blue in brightness (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)
# A line surrounds the places with at least so much of the largest heat.
LINE_HEAT = 0.5
# Images that are enlarged by at least so much show their pixels.
SQUARES_FROM = 3
NOTES = {
    "occlusion": (
        "Method: occlusion. Covering a place inside the line lowers the class's logit",
        "by more than half of the largest fall.",
    ),
    "Grad-CAM": (
        "Method: Grad-CAM. A place inside the line of the last feature map adds more to",
        "the class's logit than half of the largest addition.",
    ),
}


@dataclass(frozen=True)
class Explained:
    """A prediction, and the two classes for which the figure shows where the network looks.

    predicted: the predicted class. missed: the true class if that is another one, else None. With
    several labels, they are the first wrong and the first missing one; or, if all are right,
    `predicted` is the first one; None where there is no such class.
    """

    prediction: Prediction
    predicted: str | None
    missed: str | None


def choose_explained(evaluation: Evaluation) -> list[Explained]:
    """Return the surest mistakes and then, if there are few, the least sure hits."""
    explained = []
    for one in (*evaluation.mistakes, *evaluation.unsure_hits)[:MAX_IMAGES]:
        predicted, true = [one.predicted], [one.true or ""]
        if evaluation.several_labels:
            predicted, true = (names[0].split(CLASS_SEPARATOR) for names in (predicted, true))
        wrong = [name for name in predicted if name and name not in true]
        missing = [name for name in true if name and name not in predicted]
        is_right = not wrong and not missing
        shown = list(filter(None, predicted)) if is_right else wrong
        explained.append(Explained(one, next(iter(shown), None), next(iter(missing), None)))
    return explained


def draw_saliency(
    explained: Sequence[Explained],
    images: np.ndarray,
    heat: np.ndarray,
    method: str,
    *,
    several_labels: bool,
) -> Figure:
    """Draw each image, and where the network looks for the two classes. Call it inside `styled`.

    images: uint8 [B, H, W, 3], as the network sees them. heat: float32 [B, 2, h, w] in 0…1, for
    `predicted` and `missed`; what belongs to None is not drawn. method: as `class_heat` names it.
    """
    pictures, captions = [], []
    for one, image, (of_predicted, of_missed) in zip(explained, images, heat, strict=True):
        prediction = one.prediction
        pictures.append(image)
        true = label_words(prediction.true, several=several_labels)
        captions.append(f"{_line(true)}\n{_line(prediction.id, 'id ')}")
        for name, places, probability in (
            (one.predicted, of_predicted, prediction.probability),
            (one.missed, of_missed, prediction.true_probability),
        ):
            if name is None:
                pictures.append(np.zeros((*image.shape[:2], 4), np.uint8))
                captions.append("")
                continue
            # With several labels, the probability is not that of a single class.
            words = [] if several_labels else [f"{100 * (probability or 0):.0f} %"]
            if places.max() == 0:
                words.append("seen nowhere")
            pictures.append(spotlight(image, places))
            captions.append(f"{_line(name)}\n{', '.join(words)}")
    return draw_grid(
        pictures,
        captions,
        _title(explained),
        COLUMNS,
        column_titles=SEVERAL_LABELS_TITLES if several_labels else COLUMN_TITLES,
        notes=NOTES[method],
    )


def _line(name: str, before: str = "", after: str = "") -> str:
    return caption_line(name, before, after, COLUMNS)


def _title(explained: Sequence[Explained]) -> str:
    right = [one.prediction.predicted == one.prediction.true for one in explained]
    if all(right):
        return "Where the network looks: the least sure hits"
    if any(right):
        return "Where it looks: surest mistakes, least sure hits"
    return "Where the network looks: the surest mistakes"


def spotlight(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return an image with light on the places of heat, and a line around the hottest.

    image: uint8 [H, W, 3]. heat: float32 [h, w] in 0…1. The result is uint8, enlarged or reduced to
    about `LONGEST_SIDE`. It is as clear without colors.
    """
    height, width = image.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    # Each pixel of a small image becomes a square, and all squares have the same size.
    is_small = scale >= SQUARES_FROM
    size = tuple(round(side * (int(scale) if is_small else scale)) for side in (width, height))
    filter_ = Image.Resampling.NEAREST if is_small else Image.Resampling.LANCZOS
    picture = np.asarray(Image.fromarray(image).resize(size, filter_), np.float32)
    smooth = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    # All the light inside of the line, less and less outside.
    light = (np.asarray(smooth) / LINE_HEAT).clip(0, 1)[..., None]
    lit: np.ndarray = light * picture + (1 - light) * DIMMED * (picture @ np.array(LUMA))[..., None]
    hot = Image.fromarray(np.uint8(255) * (np.asarray(smooth) >= LINE_HEAT))
    # White between black, so that it is seen on every image.
    outer, inner = hot.filter(ImageFilter.MaxFilter(7)), hot.filter(ImageFilter.MinFilter(3))
    lit[np.asarray(outer) > np.asarray(inner)] = 0
    lit[np.asarray(hot.filter(ImageFilter.MaxFilter(5))) > np.asarray(hot)] = 255
    return lit.round().astype(np.uint8)
