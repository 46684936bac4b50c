"""What a training is given, and how far it has come."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from imagepipe.config.recipe import Recipe
from imagepipe.config.runs import NOT_OF_A_RUN
from imagepipe.config.weights import Interpolation
from imagepipe.dataset.submission_form import MetricChoice
from imagepipe.training.history import EpochMetrics


@dataclass(frozen=True)
class TrainingSpec:
    """What a training is asked for; `mean` and `std` are those of the channels in 0…1.

    several_labels: an image may have several classes, or none. interpolation: of images that are
    stored smaller than the network's.
    """

    recipe: Recipe
    seed: int
    mean: list[float]
    std: list[float]
    several_labels: bool = False
    interpolation: Interpolation = "bilinear"

    def to_dict(self) -> dict[str, Any]:
        """Return these options as plain values, without the recipe's title and members."""
        return vars(self) | {"recipe": self.recipe.model_dump(exclude=set(NOT_OF_A_RUN))}


@dataclass(frozen=True)
class TrainingData:
    """Labelled images, and which of them are trained on.

    images: uint8 [N, H, W, 3], an array or a memory map. labels: int64 [N], 0…num_classes − 1, or
    uint8 [N, num_classes] of 0 and 1 if images may have several. train_rows, valid_rows: int64,
    indices of images; valid_rows may be empty. metric: the competition's, for the validation;
    `classes` are the names that it needs. weights: the file of pretrained ones for the network.
    """

    images: np.ndarray
    labels: np.ndarray
    train_rows: np.ndarray
    valid_rows: np.ndarray
    num_classes: int
    metric: MetricChoice | None = None
    classes: Sequence[str] = ()
    weights: Path | None = None

    @property
    def train_labels(self) -> np.ndarray:
        """The labels of the training images."""
        return np.asarray(self.labels[self.train_rows])


@dataclass
class TrainingState:
    """How far a training has come: the finished epochs, and steps and seconds of the current one.

    loss_and_correct: float32 [steps per epoch, 2] on the device, each step's sum of losses and
    number of correct answers; only the first `step` rows are of the current epoch.
    """

    loss_and_correct: Tensor
    history: list[EpochMetrics] = field(default_factory=list)
    step: int = 0
    seconds: float = 0.0

    @property
    def epoch(self) -> int:
        """The current epoch, counted from 0."""
        return len(self.history)

    def end_epoch(self, metrics: EpochMetrics) -> None:
        """Go on to the next epoch."""
        self.history.append(metrics)
        self.step, self.seconds = 0, 0.0
