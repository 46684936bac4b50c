"""Building a training: all that is set up before its first step."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.randomness import derived_seed
from imagepipe.augmentation.resizing import resize_images
from imagepipe.config.recipe import NoAveraging, Recipe
from imagepipe.device.devices import on_device_or_mapped, set_arithmetic
from imagepipe.device.memory import keep_freed_memory
from imagepipe.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from imagepipe.errors import UserError
from imagepipe.models.create import InitializedFromImages, create_model
from imagepipe.models.folding import fold_frozen_batch_norm
from imagepipe.models.heads import head_names, is_in
from imagepipe.training.averaging import WeightAverage
from imagepipe.training.checkpoint import CheckpointState
from imagepipe.training.cuda_graphs import CudaGraphs
from imagepipe.training.history import EpochMetrics
from imagepipe.training.loss import balanced_class_weights
from imagepipe.training.optimizers import Optimizer, create_optimizer, load_state, set_lr
from imagepipe.training.sampling import BalancedSampling
from imagepipe.training.schedule import TrainingSchedule
from imagepipe.training.state import TrainingData, TrainingSpec, TrainingState

# Of the images that a network sees before training: at most so many at once, of so many pixels.
MAX_CHUNK_IMAGES, MAX_CHUNK_PIXELS = 500, 500 * 64 * 64


@dataclass(frozen=True)
class Training:
    """A training: what is set up once, and its `state`, which changes.

    images: uint8 [N, H, W, 3], on the device or in a memory map on the CPU. labels: int64 [N], or
    uint8 [N, classes] with several, on the device. class_weights: float32 [classes], None if all
    are 1. sampling: None if each epoch shows every image once. network: the model, or a form of it
    with the same weights that is compiled or averages its gradients over the processes. average:
    None if the recipe averages no weights. cuda_graphs: None if the kernels of a step are launched
    one by one.
    """

    spec: TrainingSpec
    data: TrainingData
    schedule: TrainingSchedule
    device: torch.device
    precision: str
    group: ProcessGroup
    images: Tensor
    labels: Tensor
    class_weights: Tensor | None
    sampling: BalancedSampling | None
    normalize: Normalize
    model: nn.Module
    network: nn.Module
    optimizer: Optimizer
    scaler: torch.amp.GradScaler
    average: WeightAverage | None
    cuda_graphs: CudaGraphs | None
    state: TrainingState

    @property
    def recipe(self) -> Recipe:
        return self.spec.recipe

    @property
    def image_size(self) -> Sequence[int]:
        """The height and width of the images that the network is given, but for `image_scale`."""
        return network_image_size(self.recipe, self.stored_size)

    @property
    def stored_size(self) -> Sequence[int]:
        """The height and width at which images are stored and augmented."""
        return self.images.shape[1:3]

    @property
    def global_step(self) -> int:
        """The current step, counted from 0 over the whole training."""
        return self.state.epoch * self.schedule.steps_per_epoch + self.state.step

    @property
    def image_scale(self) -> float:
        """The factor by which images are resized in the current epoch."""
        return self.schedule.image_scale(self.state.epoch)

    def set_mode(self) -> None:
        """Put the network into training mode, but for the batch statistics that it keeps now."""
        self.model.train()
        fine_tune = self.recipe.fine_tune
        is_frozen = fine_tune is not None and self.state.epoch < fine_tune.frozen_epochs
        if is_frozen or keeps_statistics(self.recipe):
            keep_statistics(self.model)

    def set_lr(self) -> None:
        """Set the learning rates of the current step, and freeze what the recipe freezes."""
        set_lr(self.optimizer, partial(self.schedule.lr_scale, self.global_step))

    def update_average(self) -> None:
        """Update the average of the weights, if there is one, after the current step."""
        if self.average is not None:
            self.average.after_step(self.model, self.global_step, self.schedule.total_steps)

    def evaluated_model(self) -> nn.Module:
        """Return the network to validate and keep: with averaged weights, if there are any."""
        if self.average is None or self.average.updates == 0:
            return self.model
        model = copy.deepcopy(self.model)
        self.average.copy_to(model)
        return model

    def mean_loss_and_accuracy(self, loss_and_correct: Tensor | None = None) -> tuple[float, float]:
        """Return the means over the current epoch so far, or over a copy of its first steps.

        Raises `UserError` if a loss is not finite.
        """
        state, schedule = self.state, self.schedule
        if loss_and_correct is None:
            loss_and_correct = state.loss_and_correct[: state.step]
        sums = loss_and_correct.cpu().double()
        is_finite = sums[:, 0].isfinite()
        if not is_finite.all():
            step = int((~is_finite).nonzero()[0])
            lr = schedule.lr(state.epoch * schedule.steps_per_epoch + step)
            raise UserError(
                f"the loss is not finite in epoch {state.epoch + 1}, step {step + 1}, at a "
                f"learning rate of {lr:g}; try override='{{optimizer: {{lr: "
                f"{self.recipe.optimizer.lr / 10:g}}}}}', or precision: fp32"
            )
        loss, accuracy = (sums.sum(dim=0) / schedule.images_before(len(sums))).tolist()
        return loss, accuracy

    def progress_text(self) -> str:
        """Return how far the training has come, such as "epoch 2 of 8"."""
        text = f"epoch {self.state.epoch} of {self.recipe.epochs}"
        if self.state.step:
            text += f" and step {self.state.step} of {self.schedule.steps_per_epoch} of the next"
        return text

    def checkpoint_state(self) -> CheckpointState:
        """Return all that a resumed training needs.

        Randomness has no state: each step's random numbers are drawn from seeds of their own.
        """
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "loss_and_correct": self.state.loss_and_correct[: self.state.step].clone(),
            "history": [asdict(metrics) for metrics in self.state.history],
            "seconds": self.state.seconds,
        }

    def restore(self, saved: CheckpointState) -> None:
        """Continue from what `checkpoint_state` returned."""
        self.model.load_state_dict(saved["model"])
        load_state(self.optimizer, saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        state = self.state
        state.history[:] = [EpochMetrics(**metrics) for metrics in saved["history"]]
        state.step = len(saved["loss_and_correct"])
        state.loss_and_correct[: state.step] = saved["loss_and_correct"].to(self.device)
        state.seconds = saved["seconds"]


def build_training(
    data: TrainingData,
    spec: TrainingSpec,
    device: torch.device,
    precision: str,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Training:
    """Return a training before its first step, with its data on the device.

    This also sets, for the whole process, how a GPU computes, and that freed memory is kept.
    """
    recipe = spec.recipe
    keep_freed_memory()
    set_arithmetic(device, tf32=recipe.tf32, deterministic=recipe.deterministic)
    torch.manual_seed(derived_seed(spec.seed, "weights"))
    size = network_image_size(recipe, data.images.shape[1:3])
    model = create_model(recipe.model, data.num_classes, data.weights, size)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    normalize = Normalize.from_statistics(spec.mean, spec.std, device)
    if isinstance(model, InitializedFromImages):
        rows = data.train_rows[: model.num_images_for_initialization]
        model.initialize_from_images(
            normalize(
                resize_images(images.to(device), size, spec.interpolation).permute(0, 3, 1, 2)
            )
            for images in image_chunks(data.images, rows, size)
        )
    if keeps_statistics(recipe):
        keep_statistics(model)
        fold_frozen_batch_norm(model, torch.zeros(1, 3, *size, device=device))
    else:
        model = group.synchronize_batch_norm(model)
    freeze_untrained(model, recipe)
    network: nn.Module = model
    if recipe.compile:
        # Each shape of a batch is compiled separately, so that no step's arithmetic depends on the
        # shapes before it.
        network = torch.compile(model, dynamic=False)  # type: ignore[assignment]
    schedule = TrainingSchedule(recipe, len(data.train_rows))
    images = on_device_or_mapped(data.images, device)
    averaging, loss = recipe.averaging, recipe.loss
    class_weights = sampling = None
    if loss.class_weights == "balanced":
        class_weights = balanced_class_weights(data.train_labels, data.num_classes).to(device)
    if recipe.sampling == "balanced":
        sampling = BalancedSampling.from_labels(data.train_labels, data.num_classes)
    return Training(
        spec=spec,
        data=data,
        schedule=schedule,
        device=device,
        precision=precision,
        group=group,
        images=images,
        labels=torch.tensor(data.labels, device=device),
        class_weights=class_weights,
        sampling=sampling,
        normalize=normalize,
        model=model,
        network=group.synchronize_gradients(
            network, freezes=bool(recipe.freeze or recipe.fine_tune)
        ),
        optimizer=create_optimizer(model, recipe, precision),
        scaler=torch.amp.GradScaler(device.type, enabled=precision == "fp16"),
        average=None if isinstance(averaging, NoAveraging) else WeightAverage(model, averaging),
        cuda_graphs=CudaGraphs() if can_record_graphs(images, precision, group) else None,
        state=TrainingState(torch.zeros(schedule.steps_per_epoch, 2, device=device)),
    )


def keeps_statistics(recipe: Recipe) -> bool:
    """Say whether the network normalizes by the statistics of the pretrained one throughout."""
    fine_tune = recipe.fine_tune
    return fine_tune is not None and (
        fine_tune.keep_statistics or fine_tune.frozen_epochs >= recipe.epochs
    )


def keep_statistics(model: nn.Module) -> None:
    """Have a network's batch normalizations use their statistics, without a change of these.

    Those of a head, which is new, are not changed.
    """
    heads = head_names(model)
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and not is_in(name, heads):
            module.eval()


def freeze_untrained(model: nn.Module, recipe: Recipe) -> None:
    """Let the parameters that a recipe never trains require no gradient."""
    fine_tune, heads = recipe.fine_tune, head_names(model)
    prefixes = tuple(item.parameters for item in recipe.freeze if item.after == 0)
    only_head = fine_tune is not None and fine_tune.frozen_epochs >= recipe.epochs
    for name, parameter in model.named_parameters():
        if name.startswith(prefixes) or (only_head and not is_in(name, heads)):
            parameter.requires_grad = False


def network_image_size(recipe: Recipe, stored_size: Sequence[int]) -> Sequence[int]:
    """Return the height and width of a network's images, by the recipe or as they are stored."""
    return recipe.image_size or stored_size


def image_chunks(images: np.ndarray, rows: np.ndarray, size: Sequence[int]) -> Iterator[Tensor]:
    """Yield images [n, H, W, 3], as few at once as their final `size` in pixels demands."""
    step = max(1, min(MAX_CHUNK_IMAGES, MAX_CHUNK_PIXELS // (size[0] * size[1])))
    for first in range(0, len(rows), step):
        yield torch.from_numpy(images[rows[first : first + step]])


def can_record_graphs(images: Tensor, precision: str, group: ProcessGroup) -> bool:
    """Say whether a step can be a CUDA graph, because it never waits for the GPU or a process.

    fp16's loss scaling does wait, and so do images that come from the CPU.
    """
    return images.is_cuda and precision != "fp16" and group.world_size == 1
