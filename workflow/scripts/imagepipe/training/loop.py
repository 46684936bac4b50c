"""The training engine: one loop for every recipe, which can be interrupted and carried on."""

import itertools
import logging
import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imagepipe.augmentation.mixing import Mixed, mix
from imagepipe.augmentation.randomness import generator, seed_layers
from imagepipe.augmentation.transforms import Draws, augment, draw
from imagepipe.device.devices import autocast, device_name
from imagepipe.distributed.processes import ALONE, Processes
from imagepipe.interruption import stop_requests
from imagepipe.prediction.predict import predict_logits
from imagepipe.progress import Counter, counter
from imagepipe.training import checkpoint
from imagepipe.training.history import epoch_line, write_history
from imagepipe.training.optimizers import loss_of_each
from imagepipe.training.saving import Checkpoints, Saver
from imagepipe.training.state import Training, TrainingData, begin

logger = logging.getLogger(__name__)

# Few enough that validation takes no more memory than training.
VALIDATION_BATCH_SIZE = 128
SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Trained:
    """A trained model, a row of history for each epoch, and the logits of the validation images."""

    model: nn.Module
    history: list[dict[str, Any]]
    valid_logits: np.ndarray | None

    def metrics(self) -> dict[str, Any]:
        """Return the content of metrics.json: the last epoch's figures, and the whole time."""
        last = self.history[-1]
        examples = sum(row["examples_per_second"] * row["seconds"] for row in self.history)
        seconds = sum(row["seconds"] for row in self.history)
        names = ("epochs", "train_loss", "train_accuracy", "valid_accuracy", "device", "precision")
        return {name: last[name] for name in names} | {
            "examples_per_second": examples / seconds,
            "seconds": seconds,
            "valid_images": 0 if self.valid_logits is None else len(self.valid_logits),
        }


def train(
    data: TrainingData,
    recipe: dict[str, Any],
    seed: int,
    device: torch.device,
    precision: str,
    history_file: Path,
    checkpoints: Checkpoints,
    processes: Processes = ALONE,
) -> Trained:
    """Train a recipe's network, carrying on from a checkpoint of the same fingerprint.

    After each epoch `history_file` is written, and a line is logged. A checkpoint is written after
    epochs, and within them whenever `checkpoints.seconds_between` have passed. The weights are the
    same, bit for bit, for the same data, recipe, seed, device and number of threads, however often
    the training was interrupted. Raises `UserError` if the loss is no longer finite, and `Stopped`,
    with a checkpoint written, after a signal that asks to stop.

    With several processes, each calls it with the same arguments and a part of every batch is its
    own: batches, order, augmentation and, up to rounding, the result are those of one process. The
    first one writes, and it alone heeds signals.
    """
    training = begin(data, recipe, seed, device, precision, processes)
    if not processes.is_first:
        # So that it finds no checkpoint that the first process sets aside.
        processes.wait_for_all()
    state = checkpoint.load(checkpoints.folder, checkpoints.fingerprint)
    if processes.is_first:
        processes.wait_for_all()
    if state is not None:
        training.restore(state)
        logger.info("carry on after %s", training.place())
        if processes.is_first:
            write_history(history_file, training.history)

    epochs, valid_logits = recipe["epochs"], None
    with (
        stop_requests() as stop,
        counter(
            total=epochs * training.images_per_epoch,
            initial=training.images_done(),
            description="train",
            unit="images",
        ) as bar,
    ):
        saver = Saver(training, checkpoints, stop)
        while len(training.history) < epochs:
            loss, accuracy = train_epoch(training, saver, bar)
            valid_accuracy, valid_logits = validate(training, saver)
            training.history.append(
                {
                    "epochs": len(training.history) + 1,
                    "train_loss": loss,
                    "train_accuracy": accuracy,
                    "valid_accuracy": valid_accuracy,
                    "learning_rate": training.rate(training.steps - 1),
                    "examples_per_second": training.images_per_epoch / training.seconds,
                    "seconds": training.seconds,
                    "device": device_name(device),
                    "precision": precision,
                }
            )
            training.step, training.seconds = 0, 0.0
            if processes.is_first:
                write_history(history_file, training.history)
            logger.info(epoch_line(training.history[-1], epochs))
            saver.after_epoch()
        if valid_logits is None:
            _, valid_logits = validate(training, saver)
    return Trained(training.evaluated_model(), training.history, valid_logits)


def train_epoch(training: Training, saver: Saver, bar: Counter) -> tuple[float, float]:
    """Train from the current step to the end of the epoch; return the epoch's loss and accuracy.

    Until the last step, nothing waits for a GPU but the making of a graph, and fp16's scaling.
    """
    recipe, device, seed = training.recipe, training.device, training.seed
    epoch = len(training.history)
    train_rows = torch.from_numpy(training.data.train_rows)
    order = torch.randperm(len(train_rows), generator=generator(seed, "order", epoch))
    image_size = training.images.shape[1]
    draws = draw(recipe["augmentation"], len(train_rows), image_size, seed, epoch).to(device)
    # Moved at once: a copy to the device in every step would wait for it.
    shares = [
        training.processes.share(training.images_in(step), training.images_in(step + 1))
        for step in range(training.steps)
    ]
    ends = [0, *itertools.accumulate(map(len, shares))]
    order = order[torch.cat(shares)]
    inputs = inputs_of(training, train_rows[order], draws.of(order.to(device)))

    training.model.train()
    bar.show(training.title())
    earlier, start = training.seconds, time.perf_counter()
    look, looked_at = Look(training.figures), -math.inf
    for step in range(training.step, training.steps):
        part = slice(ends[step], ends[step + 1])
        seed_layers(device, seed, "layers", epoch, step, *training.processes.distinction)
        training.set_rates(step)
        training.figures[step] = take_step(training, [tensor[part] for tensor in inputs], step)
        training.average_weights(step)
        training.processes.add_up(training.figures[step])
        training.step = step + 1
        training.seconds = earlier + time.perf_counter() - start
        bar.advance(training.batch_images(step))
        if time.perf_counter() - looked_at >= SECONDS_BETWEEN_LOOKS:
            looked_at = time.perf_counter()
            figures = look.take(training.figures[: training.step])
            if figures is not None:
                loss, accuracy = training.loss_and_accuracy(figures)
                rate = training.rate(step)
                bar.show(f"{training.title()}, loss {loss:.3f}, acc {accuracy:.3f}, lr {rate:.2g}")
        saver.after_step()
    result = training.loss_and_accuracy()
    training.seconds = earlier + time.perf_counter() - start
    return result


def try_steps(
    data: TrainingData, recipe: dict[str, Any], seed: int, device: torch.device, precision: str
) -> None:
    """Train two steps and forget them: what they need is what a whole training needs."""
    at_full_size = recipe | {"progressive_resizing": []}
    training = begin(data, at_full_size, seed, device, precision)
    images = training.images
    draws = draw(recipe["augmentation"], len(images), images.shape[1], seed, epoch=0).to(device)
    rows = torch.arange(training.batch_size) % len(images)
    inputs = inputs_of(training, rows, draws.of(rows.to(device)))
    for step in range(2):
        training.set_rates(step)
        train_step(training, training.batch_size, *inputs)


def inputs_of(training: Training, rows: Tensor, draws: Draws) -> list[Tensor]:
    """Return what `train_step` takes of images: `rows` int64 [B] on the CPU, and their draws."""
    labels = training.labels[rows.to(training.device)]
    return [rows.to(training.images.device), labels, *draws.tensors()]


def take_step(training: Training, inputs: list[Tensor], step: int) -> Tensor:
    """Make a step of the current epoch (see `train_step`), on a GPU as part of a graph."""
    images = training.batch_images(step)
    function = partial(train_step, training, images)
    if training.graphs is None or images < training.batch_size:
        return function(*inputs)
    return training.graphs.take(function, inputs, (training.scale, training.parameters_at_rest()))


def train_step(
    training: Training, images: int, rows: Tensor, labels: Tensor, *draws: Tensor
) -> Tensor:
    """Augment some images and train on them; return the sum of losses and the right answers.

    rows: int64 [B], those of the images in this process's part of a batch of `images` in all.
    labels: int64 [B]. draws: the tensors of their `Draws`. The result is float32 [2], on the
    device. Right is what is the image's own label, whatever it is mixed with.
    """
    options, drawn = training.recipe["augmentation"], Draws(*draws)
    batch = to_device(training.images[rows], training.device)
    batch = augment(batch, options, drawn, training.standardisation, training.scale)
    batch, mixed = mix(batch, labels, options, drawn)
    return learn(training, batch, mixed, images)


def to_device(batch: Tensor, device: torch.device) -> Tensor:
    """Return a batch on a device, without waiting until it is there."""
    if batch.device.type == "cpu" and device.type == "cuda":
        batch = batch.pin_memory()
    return batch.to(device, non_blocking=True)


class Look:
    """Reads a growing tensor of a device, on a GPU without waiting for it."""

    def __init__(self, largest: Tensor) -> None:
        self.arrived = torch.cuda.Event() if largest.is_cuda else None  # type: ignore[no-untyped-call]
        self.copy = torch.empty_like(largest, device="cpu", pin_memory=largest.is_cuda)
        self.length = 0

    def take(self, values: Tensor) -> Tensor | None:
        """Return a copy on the CPU: of `values`, or of those of the last call, if it has arrived.

        On a GPU the first call gives none, and each call orders the copy for the next one.
        """
        if self.arrived is None:
            return values.cpu()
        if self.length and not self.arrived.query():  # type: ignore[no-untyped-call]
            return None
        earlier = self.copy[: self.length].clone() if self.length else None
        self.length = len(values)
        self.copy[: self.length].copy_(values, non_blocking=True)
        self.arrived.record()
        return earlier


def learn(training: Training, batch: Tensor, mixed: Mixed, images: int) -> Tensor:
    """Train on a batch; the result is that of `train_step`.

    batch: float [B, 3, H, W], augmented, standardised and mixed. It goes through the network in as
    few and as equal parts as the recipe's `micro_batch_size` allows, whose gradients are added up.
    """
    options, optimizer, scaler = training.recipe["loss"], training.optimizer, training.scaler
    optimizer.zero_grad()
    figures = torch.zeros(2, device=batch.device)
    # As many in all processes, which wait for each other in each; a part may then be empty.
    largest = training.processes.largest_share(images)
    parts = math.ceil(largest / (training.recipe["micro_batch_size"] or largest))
    ends = [len(batch) * part // parts for part in range(parts + 1)]
    for part in itertools.starmap(slice, itertools.pairwise(ends)):
        labels = mixed.of(part)
        with autocast(training.device, training.precision):
            logits = training.network(batch[part])
        losses = loss_of_each(logits.float(), labels, options)
        # Of several processes' gradients the mean is taken, and the batch is that of all of them.
        loss = losses.sum() * training.processes.count
        if options["reduction"] == "mean":
            loss = loss / images
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        right = (logits.detach().argmax(dim=1) == labels.labels).sum()
        figures += torch.stack((losses.detach().sum(), right))
    scaler.step(optimizer)  # type: ignore[arg-type]
    scaler.update()
    return figures


def validate(training: Training, saver: Saver) -> tuple[float | None, np.ndarray | None]:
    """Return top-1 accuracy and float32 logits of the validation images, or None without any.

    Test-time augmentation is kept for the end of the training: it multiplies the time.
    """
    data, recipe = training.data, training.recipe
    if len(data.valid_rows) == 0:
        return None, None
    is_last = len(training.history) >= recipe["epochs"] - 1
    part = training.processes.part(len(data.valid_rows))
    rows = torch.from_numpy(data.valid_rows)[part]
    # Fewer images than processes leave some without any.
    logits = torch.empty(0, data.num_classes)
    if len(rows):
        logits = predict_logits(
            training.evaluated_model(),
            training.images[rows.to(training.images.device)],
            data.channel_means,
            data.channel_deviations,
            batch_size=VALIDATION_BATCH_SIZE,
            precision=training.precision,
            test_time_augmentation=recipe["test_time_augmentation"] if is_last else "none",
            description="validate",
            before_each_batch=saver.stop_if_asked,
        )
    logits = training.processes.together(logits)
    right = logits.argmax(dim=1).numpy() == data.labels[data.valid_rows]
    return float(right.mean()), logits.numpy()
