"""A training on its way: all that it consists of, and what of it goes into a checkpoint."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imagepipe.device import set_arithmetic, whole_or_mapped
from imagepipe.errors import UserError
from imagepipe.models import create_model
from imagepipe.optimisation import create_optimizer, learning_rate
from imagepipe.randomness import derived_seed
from imagepipe.standardisation import Standardisation


@dataclass(frozen=True)
class TrainingData:
    """Labelled images and which of them are for what.

    images: uint8 [N, H, W, 3], an array or a memory map. labels: int64 [N], the numbers of the
    classes. train_rows and valid_rows: int64, rows of the two; valid_rows may be empty. The means
    and deviations are those of the channels in 0…1.
    """

    images: np.ndarray
    labels: np.ndarray
    train_rows: np.ndarray
    valid_rows: np.ndarray
    num_classes: int
    channel_means: list[float]
    channel_deviations: list[float]


@dataclass
class Training:
    """A training on its way: what stays the same from begin to end, and then what changes.

    images: uint8 [N, H, W, 3], on the device or in a memory map on the CPU. labels: int64 [N] on
    the device. network: the model, or its compiled form, which has the same weights. figures:
    float32 [steps, 2] on the device, each step's sum of losses and number of right answers, of
    which the first `step` are of the current epoch; `seconds` are those that it has taken so far.
    """

    data: TrainingData
    recipe: dict[str, Any]
    seed: int
    device: torch.device
    precision: str
    images: Tensor
    labels: Tensor
    standardisation: Standardisation
    model: nn.Module
    network: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    figures: Tensor
    history: list[dict[str, Any]]
    step: int = 0
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.figures)

    @property
    def images_per_epoch(self) -> int:
        """Images that an epoch trains on, which are fewer than all if the last batch is dropped."""
        return self.images_in(self.steps)

    def images_done(self) -> int:
        """Images that have been trained on since the very beginning."""
        return len(self.history) * self.images_per_epoch + self.images_in(self.step)

    def images_in(self, steps: int) -> int:
        """Images in the first steps of an epoch."""
        batch_size: int = self.recipe["batch_size"]
        return min(steps * batch_size, len(self.data.train_rows))

    def rate(self, step: int) -> float:
        """Return the learning rate of a step of the current epoch."""
        return learning_rate(
            self.recipe["schedule"],
            self.recipe["optimizer"]["lr"],
            self.recipe["epochs"],
            self.steps,
            len(self.history) * self.steps + step,
        )

    def loss_and_accuracy(self, figures: Tensor | None = None) -> tuple[float, float]:
        """Return the means of the current epoch's figures, by default of all that there are so far.

        Both are those of the augmented batches as they come, as the chapter has them. Raises
        `UserError` if a loss is not finite.
        """
        figures = (self.figures[: self.step] if figures is None else figures).cpu().double()
        losses = figures[:, 0]
        if not losses.isfinite().all():
            step = int((~losses.isfinite()).nonzero()[0])
            lower = self.recipe["optimizer"]["lr"] / 10
            raise UserError(
                f"the loss is not finite in epoch {len(self.history) + 1}, step {step + 1}, at a "
                f"learning rate of {self.rate(step):g}; "
                f"try override='{{optimizer: {{lr: {lower:g}}}}}', or precision: fp32"
            )
        loss, right = (figures.sum(dim=0) / self.images_in(len(figures))).tolist()
        return loss, right

    def title(self) -> str:
        return f"epoch {min(len(self.history) + 1, self.recipe['epochs'])}/{self.recipe['epochs']}"

    def place(self) -> str:
        """Say how far the training has come."""
        epoch = f"epoch {len(self.history)} of {self.recipe['epochs']}"
        return epoch + (f" and step {self.step} of {self.steps} of the next" if self.step else "")

    def state(self) -> dict[str, Any]:
        """Return all that a resumed training needs, for a checkpoint."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "figures": self.figures[: self.step].clone(),
            "history": self.history,
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state. Randomness has none: each step's numbers are drawn for themselves."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step = len(state["figures"])
        self.figures[: self.step] = state["figures"].to(self.device)
        self.history = state["history"]
        self.seconds = state["seconds"]


def begin(
    data: TrainingData, recipe: dict[str, Any], seed: int, device: torch.device, precision: str
) -> Training:
    """Return a training before its first step, with its data on the device."""
    set_arithmetic(device, tf32=recipe["tf32"], deterministic=recipe["deterministic"])
    torch.manual_seed(derived_seed(seed, "weights"))
    model = create_model(recipe["model"], data.num_classes)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, batch_size = len(data.train_rows), recipe["batch_size"]
    whole_batches = recipe["drop_last"] and images >= batch_size
    steps = images // batch_size if whole_batches else math.ceil(images / batch_size)
    return Training(
        data=data,
        recipe=recipe,
        seed=seed,
        device=device,
        precision=precision,
        images=whole_or_mapped(data.images, device),
        labels=torch.tensor(data.labels, device=device),
        standardisation=Standardisation.of(data.channel_means, data.channel_deviations, device),
        model=model,
        network=compiled(model) if recipe["compile"] else model,
        optimizer=create_optimizer(model, recipe["optimizer"]),
        scaler=torch.amp.GradScaler(device.type, enabled=precision == "fp16"),
        figures=torch.zeros(steps, 2, device=device),
        history=[],
    )


def compiled(model: nn.Module) -> nn.Module:
    """Return a compiled form of a network, which shares its weights.

    Each shape of a batch is compiled for itself, so that no step's arithmetic depends on which
    shapes have come before.
    """
    network: nn.Module = torch.compile(model, dynamic=False)  # type: ignore[assignment]
    return network
