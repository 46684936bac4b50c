"""Training of heads on the features of a frozen network: seconds, so nothing is resumed.

All of it computes in fp32. The same features, labels, recipe, seed, device and number of threads
give the same weights, bit for bit.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from imagepipe.augmentation.mixing import MixedLabels
from imagepipe.augmentation.randomness import derived_seed, seed_layers
from imagepipe.config.recipe import KNNHead, LinearHead, MLPHead, NoAveraging
from imagepipe.device.devices import device_name, set_arithmetic
from imagepipe.device.memory import keep_freed_memory
from imagepipe.errors import Stopped, UserError
from imagepipe.interruption import StopRequest, stop_requests
from imagepipe.models.create import create_model
from imagepipe.models.frozen_features import FrozenWithHead, NearestNeighbors, create_head
from imagepipe.prediction.features import feature_chunks, head_logits_in_chunks
from imagepipe.training.averaging import WeightAverage
from imagepipe.training.event_files import event_files
from imagepipe.training.history import EpochMetrics, epoch_line, write_history
from imagepipe.training.logistic_regression import fit_logistic_regression, standardization
from imagepipe.training.loop import TrainingResult, validation_metrics
from imagepipe.training.loss import answers_are_right, balanced_class_weights, loss_per_image
from imagepipe.training.optimizers import clip_gradients, create_optimizer, set_lr
from imagepipe.training.sampling import BalancedSampling, epoch_order
from imagepipe.training.schedule import TrainingSchedule
from imagepipe.training.state import TrainingData, TrainingSpec

logger = logging.getLogger(__name__)

HEAD_PRECISION = "fp32"


@dataclass(frozen=True)
class HeadTraining:
    """What a head is trained on: the features and labels of the training images, on the device.

    features: float32 [N, D]. labels: int64 [N], or uint8 [N, classes] with several. class_weights:
    float32 [classes] or None.
    """

    spec: TrainingSpec
    num_classes: int
    features: Tensor
    labels: Tensor
    class_weights: Tensor | None
    stop: StopRequest

    @property
    def device(self) -> torch.device:
        return self.features.device

    def stop_if_asked(self) -> None:
        """Raise `Stopped` if a signal has come."""
        if self.stop.signal is not None:
            name = self.stop.signal.name
            raise Stopped(
                f"stopped by {name}; the same command trains the head again", self.stop.signal
            )

    def loss_and_accuracy(self, logits_of: Callable[[slice], Tensor]) -> tuple[float, float]:
        """Return the mean loss and the accuracy of the logits of the training images."""
        losses, correct = [], []
        for rows in feature_chunks(len(self.features)):
            logits, labels = logits_of(rows), self.labels[rows]
            loss = self.spec.recipe.loss
            losses.append(loss_per_image(logits, MixedLabels(labels), loss, self.class_weights))
            correct.append(answers_are_right(logits, labels))
        return float(torch.cat(losses).double().mean()), float(torch.cat(correct).double().mean())


def train_head(
    data: TrainingData,
    features: np.ndarray,
    spec: TrainingSpec,
    device: torch.device,
    history_file: Path,
    events: Path | None = None,
    image_size: Sequence[int] | None = None,
) -> TrainingResult:
    """Train the head of a recipe whose model is one on frozen features.

    features: float32 [N, D], of all labelled images; the result's model maps images to logits, with
    the weights of `data` in its frozen network. image_size: the images' height and width, for
    networks that need to know them. history.csv has a row for each epoch of an mlp, and one row for
    other heads. Raises `Stopped` when a signal asks to stop; the training then starts anew.
    """
    recipe = spec.recipe
    keep_freed_memory()
    set_arithmetic(device, tf32=recipe.tf32, deterministic=recipe.deterministic)
    class_weights = None
    if recipe.loss.class_weights == "balanced":
        class_weights = balanced_class_weights(data.train_labels, data.num_classes).to(device)
    history: list[EpochMetrics] = []
    valid_logits: np.ndarray | None = None
    num_epochs = recipe.epochs if isinstance(recipe.model, MLPHead) else 1
    with stop_requests() as stop, event_files(events, history) as add_event:
        training = HeadTraining(
            spec=spec,
            num_classes=data.num_classes,
            features=torch.from_numpy(features[data.train_rows]).to(device),
            labels=torch.tensor(data.train_labels, device=device),
            class_weights=class_weights,
            stop=stop,
        )
        start = time.perf_counter()
        for epoch in trained_epochs(training):
            seconds = time.perf_counter() - start
            valid_logits = None
            if len(data.valid_rows):
                logits = head_logits_in_chunks(epoch.head, features, data.valid_rows)
                valid_logits = logits.numpy()
            valid = validation_metrics(data, valid_logits, several_labels=spec.several_labels)
            metrics = EpochMetrics(
                epochs=len(history) + 1,
                train_loss=epoch.loss,
                train_accuracy=epoch.accuracy,
                valid_accuracy=valid.accuracy,
                learning_rate=epoch.lr,
                examples_per_second=epoch.num_images / seconds,
                seconds=seconds,
                device=device_name(device),
                precision=HEAD_PRECISION,
                metric_name=valid.name,
                metric=valid.metric,
            )
            history.append(metrics)
            write_history(history_file, history)
            add_event(metrics)
            logger.info(epoch_line(metrics, num_epochs))
            training.stop_if_asked()
            start = time.perf_counter()
    model = create_model(recipe.model, data.num_classes, data.weights, image_size)
    assert isinstance(model, FrozenWithHead)
    model.head = epoch.head
    return TrainingResult(model, history, valid_logits)


@dataclass(frozen=True)
class HeadEpoch:
    """A head after an epoch: its loss and accuracy, on `num_images` images, and the last rate."""

    head: nn.Module
    loss: float
    accuracy: float
    lr: float
    num_images: int


def trained_epochs(training: HeadTraining) -> Iterator[HeadEpoch]:
    """Train the recipe's head, and yield it after each epoch; those without epochs, once."""
    match training.spec.recipe.model:
        case LinearHead() as options:
            yield linear_head(training, options)
        case MLPHead() as options:
            yield from mlp_epochs(training, options)
        case KNNHead() as options:
            yield nearest_neighbors(training, options)


def linear_head(training: HeadTraining, options: LinearHead) -> HeadEpoch:
    """Fit a logistic regression."""
    weight, bias = fit_logistic_regression(
        training.features,
        training.labels,
        training.num_classes,
        l2=options.l2,
        loss=training.spec.recipe.loss,
        class_weights=training.class_weights,
        seed=training.spec.seed,
        stop_if_asked=training.stop_if_asked,
    )
    head = nn.Linear(weight.shape[1], len(weight), device=training.device)
    head.load_state_dict({"weight": weight, "bias": bias})
    with torch.inference_mode():
        loss, accuracy = training.loss_and_accuracy(lambda rows: head(training.features[rows]))
    return HeadEpoch(head, loss, accuracy, 0.0, len(training.features))


def nearest_neighbors(training: HeadTraining, options: KNNHead) -> HeadEpoch:
    """Keep the training images; each one's loss and answer are those of its neighbors."""
    size = training.features.shape[1]
    head = NearestNeighbors(options, size, training.num_classes).to(training.device)
    head.remember(training.features, training.labels)
    rows_of = torch.arange(len(training.features), device=training.device)
    with torch.inference_mode():
        loss, accuracy = training.loss_and_accuracy(
            lambda rows: head(training.features[rows], left_out=rows_of[rows])
        )
    return HeadEpoch(head, loss, accuracy, 0.0, len(training.features))


def mlp_epochs(training: HeadTraining, options: MLPHead) -> Iterator[HeadEpoch]:
    """Train a network of one hidden layer by the recipe's optimizer, schedule, batches and loss.

    It learns from standardized features. The heads that are yielded take them as they are.
    """
    recipe, seed, device = training.spec.recipe, training.spec.seed, training.device
    center, scale = standardization(training.features)
    features = (training.features - center) / scale
    num_images, size = features.shape
    torch.manual_seed(derived_seed(seed, "weights"))
    head = create_head(options, size, training.num_classes).to(device)
    optimizer = create_optimizer(head, recipe, HEAD_PRECISION)
    schedule = TrainingSchedule(recipe, num_images)
    average = None
    if not isinstance(recipe.averaging, NoAveraging):
        average = WeightAverage(head, recipe.averaging)
    sampling = None
    if recipe.sampling == "balanced":
        labels = training.labels.cpu().numpy()
        sampling = BalancedSampling.from_labels(labels, training.num_classes)
    for epoch in range(recipe.epochs):
        order = epoch_order(num_images, sampling, seed, epoch)[0].to(device)
        head.train()
        sums = torch.zeros(2, device=device)
        for step in range(schedule.steps_per_epoch):
            training.stop_if_asked()
            global_step = epoch * schedule.steps_per_epoch + step
            seed_layers(device, seed, "layers", epoch, step)
            set_lr(optimizer, partial(schedule.lr_scale, global_step))
            rows = order[schedule.images_before(step) : schedule.images_before(step + 1)]
            labels_of_rows = training.labels[rows]
            optimizer.zero_grad()
            logits = head(features[rows])
            losses = loss_per_image(
                logits, MixedLabels(labels_of_rows), recipe.loss, training.class_weights
            )
            loss = losses.sum() if recipe.loss.reduction == "sum" else losses.mean()
            loss.backward()  # type: ignore[no-untyped-call]
            if recipe.gradient_clipping:
                clip_gradients(optimizer, recipe.gradient_clipping)
            optimizer.step()
            if average is not None:
                average.after_step(head, global_step, schedule.total_steps)
            correct = answers_are_right(logits.detach(), labels_of_rows).sum()
            sums += torch.stack((losses.detach().sum(), correct))
        evaluated = create_head(options, size, training.num_classes).to(device)
        evaluated.load_state_dict(head.state_dict())
        if average is not None and average.updates:
            average.copy_to(evaluated)
        fold_standardization(evaluated, center, scale)
        mean_loss, accuracy = (sums / schedule.images_per_epoch).tolist()
        if not math.isfinite(mean_loss):
            lr = recipe.optimizer.lr
            raise UserError(
                f"the loss is not finite in epoch {epoch + 1}, at a learning rate of up to {lr:g}; "
                f"try override='{{optimizer: {{lr: {lr / 10:g}}}}}'"
            )
        lr = schedule.lr(global_step)
        yield HeadEpoch(evaluated.eval(), mean_loss, accuracy, lr, schedule.images_per_epoch)


@torch.no_grad()
def fold_standardization(head: nn.Module, center: Tensor, scale: Tensor) -> None:
    """Let an mlp that takes standardized features take them as they are."""
    first = next(module for module in head.modules() if isinstance(module, nn.Linear))
    first.weight.div_(scale)
    first.bias.sub_(first.weight @ center)
