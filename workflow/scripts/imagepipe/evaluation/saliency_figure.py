"""The figure of where the network looks in its worst mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.resizing import resize_images
from imagepipe.dataset.manifests import CLASS_SEPARATOR
from imagepipe.dataset.packed import map_array
from imagepipe.device.devices import chosen_device, set_arithmetic
from imagepipe.display.sentence import draw_sentence
from imagepipe.evaluation.evaluation_file import Evaluation, Prediction, read_results
from imagepipe.evaluation.picture_grid import caption_line, draw_grid
from imagepipe.evaluation.saliency import class_heat
from imagepipe.models.model_files import load_model

# Rows of the figure.
MAX_IMAGES = 6
# Pixels of the longer side of a picture.
LONGER_SIDE = 192
# Where there is no heat, a picture keeps so much of its brightness, and no color.
DIMMED = 0.3
# The line around the hottest places is drawn at this heat.
LINE_HEAT = 0.5
NOTES = {
    "occlusion": (
        "Method: occlusion. Bright and inside the line: covering these pixels lowers",
        "the class's logit most. Dark: it does not lower it.",
    ),
    "Grad-CAM": (
        "Method: Grad-CAM on the last feature map. Bright and inside the line: these",
        "places raise the class's logit most. Dark: they do not raise it.",
    ),
}


@dataclass(frozen=True)
class Explained:
    """A prediction, and the classes for which it is shown where the network looks, if any.

    predicted: the class that was predicted, of several labels a wrong one, if there is one.
    missed: the true class that was not predicted.
    """

    prediction: Prediction
    predicted: str | None
    missed: str | None
