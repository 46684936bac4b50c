"""The training loop: one for every recipe; it can be interrupted and resumed."""

import itertools
import logging
import math
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imagepipe.augmentation.batches import prepare_batch
from imagepipe.augmentation.mixing import MixedLabels
from imagepipe.augmentation.randomness import seed_layers
from imagepipe.augmentation.transforms import AugmentationDraws, draw_augmentation
from imagepipe.device.devices import autocast, device_name
from imagepipe.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from imagepipe.interruption import stop_requests
from imagepipe.metrics.metric import compute_metric
from imagepipe.prediction.logits import class_probabilities
from imagepipe.prediction.predict import predict_logits
from imagepipe.progress import Counter, counter
from imagepipe.training.build import Training, build_training
from imagepipe.training.epoch_progress import EpochProgress
from imagepipe.training.event_files import event_files
from imagepipe.training.history import EpochMetrics, epoch_line, write_history
from imagepipe.training.linear_probe import start_from_linear_probe
from imagepipe.training.loss import answers_are_right, loss_per_image
from imagepipe.training.optimizers import clip_gradients, num_frozen
from imagepipe.training.sampling import epoch_order
from imagepipe.training.saving import Checkpoints, Saver, resume
from imagepipe.training.state import TrainingData, TrainingSpec

logger = logging.getLogger(__name__)

# Small enough that validation takes no more memory than training.
VALIDATION_BATCH_SIZE = 128


@dataclass(frozen=True)
class TrainingResult:
    """A trained model, the metrics of each epoch, and the logits of the validation images."""

    model: nn.Module
    history: list[EpochMetrics]
    valid_logits: np.ndarray | None


def train(
    data: TrainingData,
    spec: TrainingSpec,
    device: torch.device,
    precision: str,
    history_file: Path,
    checkpoints: Checkpoints,
    group: ProcessGroup = SINGLE_PROCESS,
    events: Path | None = None,
) -> TrainingResult:
    """Train the recipe's network, from the start or from a checkpoint.

    After each epoch, `history_file` is written, and TensorBoard's event files in the folder
    `events`, if it is given; and a line is logged. Checkpoints are written after
    epochs, and within them whenever `checkpoints.seconds_between` have passed. The same data,
    spec, device and number of threads give the same weights, bit for bit, however often the
    training is interrupted. Raises `UserError` if the loss is no longer finite. Raises `Stopped`
    when a signal asks to stop, after writing a checkpoint.

    In a group of several processes, each calls this function with the same arguments and computes
    its shard of every batch; the result is that of one process, up to rounding. The first process
    writes the files and heeds signals.
    """
    training = build_training(data, spec, device, precision, group)
    state, schedule = training.state, training.schedule
    epochs, valid_logits = spec.recipe.epochs, None
    is_resumed = resume(training, checkpoints)
    if is_resumed and group.is_first:
        write_history(history_file, state.history)
    with (
        stop_requests() as stop,
        counter(
            total=epochs * schedule.images_per_epoch,
            initial=state.epoch * schedule.images_per_epoch + schedule.images_before(state.step),
            description="train",
            unit="images",
        ) as bar,
        event_files(events if group.is_first else None, state.history) as add_event,
    ):
        saver = Saver(training, checkpoints, stop)
        if spec.recipe.fine_tune and spec.recipe.fine_tune.linear_probe and not is_resumed:
            start_from_linear_probe(training, saver.stop_without_saving)
        while state.epoch < epochs:
            loss, accuracy = train_epoch(training, saver, bar)
            valid_logits = validate(training, saver)
            valid = validation_metrics(data, valid_logits, several_labels=spec.several_labels)
            metrics = EpochMetrics(
                epochs=state.epoch + 1,
                train_loss=loss,
                train_accuracy=accuracy,
                valid_accuracy=valid.accuracy,
                learning_rate=schedule.lr(training.global_step - 1),
                examples_per_second=schedule.images_per_epoch / state.seconds,
                seconds=state.seconds,
                device=device_name(device),
                precision=precision,
                metric_name=valid.name,
                metric=valid.metric,
            )
            state.end_epoch(metrics)
            if group.is_first:
                write_history(history_file, state.history)
                add_event(metrics)
            logger.info(epoch_line(metrics, epochs))
            saver.after_epoch()
        if valid_logits is None:
            valid_logits = validate(training, saver)
    return TrainingResult(training.evaluated_model(), state.history, valid_logits)


def train_epoch(training: Training, saver: Saver, bar: Counter) -> tuple[float, float]:
    """Train from the current step to the end of the epoch; return the epoch's loss and accuracy.

    Before the last step, only the recording of a CUDA graph and fp16's loss scaling wait for a GPU.
    """
    state, schedule, group = training.state, training.schedule, training.group
    inputs = epoch_inputs(training)
    training.set_mode()
    progress = EpochProgress(training, bar)
    start = time.perf_counter() - state.seconds
    for step in range(state.step, schedule.steps_per_epoch):
        seed = training.spec.seed
        seed_layers(training.device, seed, "layers", state.epoch, step, *group.seed_suffix)
        training.set_lr()
        state.loss_and_correct[step] = train_step(
            training, inputs[step], schedule.batch_size_at(step)
        )
        training.update_average()
        group.all_reduce(state.loss_and_correct[step])
        state.step = step + 1
        state.seconds = time.perf_counter() - start
        progress.after_step()
        saver.after_step()
    result = training.mean_loss_and_accuracy()
    state.seconds = time.perf_counter() - start
    return result


def epoch_inputs(training: Training) -> list[list[Tensor]]:
    """Draw the current epoch's order and augmentation; return the inputs of each `run_step`.

    They move to the device at once: a copy in each step would wait for it.
    """
    schedule, seed, epoch = training.schedule, training.spec.seed, training.state.epoch
    device, stored_size = training.device, training.stored_size
    train_rows = torch.from_numpy(training.data.train_rows)
    augmentation, num_images = training.recipe.augmentation, len(train_rows)
    draws = draw_augmentation(augmentation, num_images, stored_size, seed, epoch).to(device)
    order, draw_of = epoch_order(num_images, training.sampling, seed, epoch)
    shards = [
        schedule.images_before(step) + training.group.shard(schedule.batch_size_at(step))
        for step in range(schedule.steps_per_epoch)
    ]
    positions = torch.cat(shards)
    rows = train_rows[order[positions]]
    labels = training.labels[rows.to(device)]
    draws = draws.select(draw_of[positions].to(device))
    inputs = [rows.to(training.images.device), labels, *draws.tensors()]
    chunks = (torch.split(tensor, [len(shard) for shard in shards]) for tensor in inputs)
    return [list(step) for step in zip(*chunks, strict=True)]


def train_step(training: Training, inputs: list[Tensor], batch_size: int) -> Tensor:
    """Run a step (see `run_step`), on a GPU as the replay of a CUDA graph."""
    step = partial(run_step, training, batch_size)
    if training.cuda_graphs is None or batch_size < training.schedule.batch_size:
        return step(*inputs)
    kind = (training.image_scale, num_frozen(training.optimizer))
    return training.cuda_graphs.run(step, inputs, kind)


def run_step(
    training: Training, batch_size: int, rows: Tensor, labels: Tensor, *draws: Tensor
) -> Tensor:
    """Augment this process's shard of a batch, and train on it.

    batch_size: images in the whole batch. rows: int64 [B], the shard's images. labels: int64 [B],
    or uint8 [B, classes]. draws: the tensors of the shard's `AugmentationDraws`. Returns what
    `forward_backward` does.
    """
    images, mixed_labels = prepare_batch(
        to_device(training.images[rows], training.device),
        labels,
        training.recipe.augmentation,
        AugmentationDraws(*draws),
        training.normalize,
        training.image_size,
        training.image_scale,
        training.spec.interpolation,
    )
    return update_weights(training, images, mixed_labels, batch_size)


def to_device(images: Tensor, device: torch.device) -> Tensor:
    """Return images on a device, without waiting until they are there."""
    if images.device.type == "cpu" and device.type == "cuda":
        images = images.pin_memory()
    return images.to(device, non_blocking=True)


def update_weights(
    training: Training, images: Tensor, labels: MixedLabels, batch_size: int
) -> Tensor:
    """Take a step of the optimizer; arguments and result are those of `forward_backward`."""
    training.optimizer.zero_grad()
    loss_and_correct = forward_backward(training, images, labels, batch_size)
    if training.recipe.gradient_clipping:
        training.scaler.unscale_(training.optimizer)  # type: ignore[arg-type]
        clip_gradients(training.optimizer, training.recipe.gradient_clipping)
    training.scaler.step(training.optimizer)  # type: ignore[arg-type]
    training.scaler.update()
    return loss_and_correct


def forward_backward(
    training: Training, images: Tensor, labels: MixedLabels, batch_size: int
) -> Tensor:
    """Compute the gradients of a batch.

    images: float [B, 3, H, W], this process's shard, augmented, normalized and mixed.
    batch_size: images in the whole batch. Returns the shard's sum of losses and its number of
    correct answers, float32 [2] on the device. For a mixed image, its own label is correct; with
    several labels, all of them must be.

    The images go through the network in as few and as equal chunks as the recipe's
    `micro_batch_size` allows, whose gradients add up.
    """
    recipe, group = training.recipe, training.group
    loss_and_correct = torch.zeros(2, device=images.device)
    # All processes wait for each other in each chunk, so all have as many; some may be empty.
    largest_shard = group.largest_shard(batch_size)
    num_chunks = math.ceil(largest_shard / (recipe.micro_batch_size or largest_shard))
    bounds = [len(images) * chunk // num_chunks for chunk in range(num_chunks + 1)]
    for chunk in itertools.starmap(slice, itertools.pairwise(bounds)):
        chunk_labels = labels.select(chunk)
        with autocast(training.device, training.precision):
            logits = training.network(images[chunk])
        losses = loss_per_image(logits.float(), chunk_labels, recipe.loss, training.class_weights)
        # The processes' gradients are averaged, and their losses are to be added up.
        loss = losses.sum() * group.world_size
        if recipe.loss.reduction == "mean":
            loss = loss / batch_size
        training.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        correct = answers_are_right(logits.detach(), chunk_labels.labels).sum()
        loss_and_correct += torch.stack((losses.detach().sum(), correct))
    return loss_and_correct


def validate(training: Training, saver: Saver) -> np.ndarray | None:
    """Return the logits of the validation images, float32 [N, classes]; None if there are none.

    Test-time augmentation takes a multiple of the time, so only the last epoch has it.
    """
    data, spec = training.data, training.spec
    if len(data.valid_rows) == 0:
        return None
    is_last = training.state.epoch >= spec.recipe.epochs - 1
    rows = torch.from_numpy(data.valid_rows)[training.group.chunk(len(data.valid_rows))]
    # With fewer images than processes, some have none.
    logits = torch.empty(0, data.num_classes)
    if len(rows):
        logits = predict_logits(
            training.evaluated_model(),
            training.images,
            spec.mean,
            spec.std,
            rows=rows.to(training.images.device),
            batch_size=VALIDATION_BATCH_SIZE,
            image_size=training.image_size,
            interpolation=spec.interpolation,
            several_labels=spec.several_labels,
            precision=training.precision,
            test_time_augmentation=spec.recipe.test_time_augmentation if is_last else "none",
            description="validate",
            before_each_batch=saver.stop_if_asked,
        )
    return training.group.all_gather(logits).numpy()


@dataclass(frozen=True)
class ValidationMetrics:
    """The accuracy of the validation images, and the competition's metric and its name."""

    accuracy: float | None = None
    name: str | None = None
    metric: float | None = None


def validation_metrics(
    data: TrainingData, logits: np.ndarray | None, *, several_labels: bool
) -> ValidationMetrics:
    """Return the metrics of the logits of the validation images, [N, classes]."""
    if logits is None:
        return ValidationMetrics()
    labels = data.labels[data.valid_rows]
    is_right = answers_are_right(torch.from_numpy(logits), torch.from_numpy(labels)).numpy()
    accuracy = float(is_right.mean())
    if data.metric is None:
        return ValidationMetrics(accuracy)
    name = data.metric.name
    if name == "accuracy":
        return ValidationMetrics(accuracy, name, accuracy)
    probabilities = class_probabilities(logits, several_labels=several_labels)
    metric = None
    if np.isfinite(probabilities).all():
        metric = compute_metric(data.metric, probabilities, labels, data.classes)
    return ValidationMetrics(accuracy, name, metric)


def try_steps(data: TrainingData, spec: TrainingSpec, device: torch.device, precision: str) -> None:
    """Train two steps at the full image size: they need as much memory as a whole training."""
    update: dict[str, Any] = {"progressive_resizing": []}
    fine_tune = spec.recipe.fine_tune
    if fine_tune and fine_tune.frozen_epochs < spec.recipe.epochs:
        update["fine_tune"] = fine_tune.model_copy(update={"frozen_epochs": 0})
    spec = replace(spec, recipe=spec.recipe.model_copy(update=update))
    training = build_training(data, spec, device, precision)
    training.set_mode()
    inputs = epoch_inputs(training)[0]
    for step in range(2):
        training.state.step = step
        training.set_lr()
        run_step(training, training.schedule.batch_size, *inputs)
