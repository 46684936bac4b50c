"""A training on its way: all that it consists of, and what of it goes into a checkpoint."""

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imagepipe.augmentation.normalize import Standardisation
from imagepipe.augmentation.randomness import derived_seed
from imagepipe.device.devices import set_arithmetic, whole_or_mapped
from imagepipe.device.memory import keep_freed_memory
from imagepipe.distributed.processes import ALONE, Processes
from imagepipe.errors import UserError
from imagepipe.models.networks import Airbench, create_model
from imagepipe.models.whitening import whiten
from imagepipe.training.averaging import WeightAverage
from imagepipe.training.cuda_graphs import GraphedSteps
from imagepipe.training.muon import Muon
from imagepipe.training.optimizers import create_optimizer, keep_rates_on, rate_factor

# So many images tell enough of the patches that the first convolution is to whiten.
IMAGES_FOR_WHITENING = 5_000


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
    the device. network: the model, or a form of it that has the same weights: compiled, or sharing
    its gradients with other processes. average: None where the recipe averages nothing. graphs:
    None where the kernels of a step are launched one by one. batch_size: of all batches but an
    epoch's last, over all processes. figures: float32 [steps, 2] on the device, each step's sum of
    losses and number of right answers, of which the first `step` are of the current epoch;
    `seconds` are those that it has taken so far.
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
    optimizer: Muon | torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: WeightAverage | None
    graphs: GraphedSteps | None
    processes: Processes
    batch_size: int
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
        return min(steps * self.batch_size, len(self.data.train_rows))

    def batch_images(self, step: int) -> int:
        """Images in the batch of a step, over all processes."""
        return self.images_in(step + 1) - self.images_in(step)

    @property
    def scale(self) -> float:
        """By what factor the current epoch's images are resized."""
        done = (len(self.history) + 0.5) / self.recipe["epochs"]
        stages = self.recipe["progressive_resizing"]
        return float(next((stage["scale"] for stage in stages if done < stage["until"]), 1.0))

    def steps_before(self, step: int) -> int:
        """Steps from the very beginning to a step of the current epoch."""
        return len(self.history) * self.steps + step

    def factor(self, step: int, trained_part: float = 1) -> float:
        """Return the part of the highest learning rate for a step of the current epoch."""
        schedule, epochs = self.recipe["schedule"], self.recipe["epochs"]
        return rate_factor(schedule, epochs, self.steps, self.steps_before(step), trained_part)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step of the current epoch."""
        return float(self.recipe["optimizer"]["lr"] * self.factor(step))

    def average_weights(self, step: int) -> None:
        """Bring the average of the weights, if there is one, up to date after a step."""
        if self.average is not None:
            total = self.recipe["epochs"] * self.steps
            self.average.after_step(self.model, self.steps_before(step), total)

    def set_rates(self, step: int) -> None:
        """Give each group of parameters its rate for a step, and no gradient to those at rest."""
        for group in self.optimizer.param_groups:
            rate = group["initial_lr"] * self.factor(step, group["trained_part"])
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
            for parameter in group["params"]:
                parameter.requires_grad_(rate > 0)

    def parameters_at_rest(self) -> int:
        """Return how many of the optimiser's parameters get no gradient now."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        return sum(not parameter.requires_grad for parameter in parameters)

    def evaluated_model(self) -> nn.Module:
        """Return the network that is validated and kept: of the averaged weights, if there are."""
        if self.average is None or self.average.updates == 0:
            return self.model
        model = copy.deepcopy(self.model)
        self.average.put_into(model)
        return model

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
        """Say which epoch is under way."""
        return f"epoch {len(self.history) + 1} of {self.recipe['epochs']}"

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
            "average": None if self.average is None else self.average.state(),
            "figures": self.figures[: self.step].clone(),
            "history": self.history,
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state. Randomness has none: each step's numbers are drawn for themselves."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        keep_rates_on(self.device, self.optimizer)
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.restore(state["average"])
        self.step = len(state["figures"])
        self.figures[: self.step] = state["figures"].to(self.device)
        self.history = state["history"]
        self.seconds = state["seconds"]


def begin(
    data: TrainingData,
    recipe: dict[str, Any],
    seed: int,
    device: torch.device,
    precision: str,
    processes: Processes = ALONE,
) -> Training:
    """Return a training before its first step, with its data on the device.

    What is set for all of the process: how a GPU computes, and that memory is kept.
    """
    keep_freed_memory()
    set_arithmetic(device, tf32=recipe["tf32"], deterministic=recipe["deterministic"])
    torch.manual_seed(derived_seed(seed, "weights"))
    model = create_model(recipe["model"], data.num_classes)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    standardisation = Standardisation.of(data.channel_means, data.channel_deviations, device)
    if isinstance(model, Airbench):
        some = torch.from_numpy(data.images[data.train_rows[:IMAGES_FOR_WHITENING]]).to(device)
        some = standardisation.apply(some.permute(0, 3, 1, 2))
        whiten(model.whitening, some, recipe["model"]["whitening_epsilon"])
    model = processes.share_statistics(model)
    network = compiled(model) if recipe["compile"] else model
    batch_size = fitting_batch_size(recipe, len(data.train_rows))
    images = len(data.train_rows)
    whole_batches = recipe["drop_last"] and images >= batch_size
    steps = images // batch_size if whole_batches else math.ceil(images / batch_size)
    averaging = recipe["averaging"]
    images_there = whole_or_mapped(data.images, device)
    optimizer = create_optimizer(model, recipe, precision)
    keep_rates_on(device, optimizer)
    return Training(
        data=data,
        recipe=recipe,
        seed=seed,
        device=device,
        precision=precision,
        images=images_there,
        labels=torch.tensor(data.labels, device=device),
        standardisation=standardisation,
        model=model,
        network=processes.share_gradients(network, some_at_rest=bool(recipe["freeze"])),
        optimizer=optimizer,
        scaler=torch.amp.GradScaler(device.type, enabled=precision == "fp16"),
        average=None if averaging["name"] == "none" else WeightAverage(model, averaging),
        graphs=GraphedSteps() if can_be_graphs(images_there, precision, processes) else None,
        processes=processes,
        batch_size=batch_size,
        figures=torch.zeros(steps, 2, device=device),
        history=[],
    )


def can_be_graphs(images: Tensor, precision: str, processes: Processes) -> bool:
    """Say whether a step is launched as one: nothing in it waits for a GPU or another process.

    The scaling of fp16's losses does wait, and so do images that come from the CPU.
    """
    return images.is_cuda and precision != "fp16" and processes.count == 1


def fitting_batch_size(recipe: dict[str, Any], images: int) -> int:
    """Return the recipe's batch size, or less where an epoch would have too few steps."""
    largest: int = recipe["batch_size"]
    least_steps: int = recipe["least_steps_per_epoch"]
    return max(1, min(largest, images // least_steps))


def compiled(model: nn.Module) -> nn.Module:
    """Return a compiled form of a network, which shares its weights.

    Each shape of a batch is compiled for itself, so that no step's arithmetic depends on which
    shapes have come before.
    """
    network: nn.Module = torch.compile(model, dynamic=False)  # type: ignore[assignment]
    return network
