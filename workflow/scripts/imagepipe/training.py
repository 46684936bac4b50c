"""The training engine: one loop for every recipe, which can be interrupted and carried on."""

import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imagepipe import checkpoint
from imagepipe.augmentation import apply, draw
from imagepipe.device import autocast, device_name
from imagepipe.errors import UserError
from imagepipe.files import write_rows, write_text
from imagepipe.models import create_model
from imagepipe.optimisation import create_optimizer, learning_rate, loss_of_each
from imagepipe.prediction import predict_logits, standardise
from imagepipe.progress import counter
from imagepipe.randomness import derived_seed, generator

logger = logging.getLogger(__name__)

VALIDATION_BATCH_SIZE = 500
HISTORY_COLUMNS = (
    "epochs",
    "train_loss",
    "train_accuracy",
    "valid_accuracy",
    "learning_rate",
    "examples_per_second",
    "seconds",
    "device",
    "precision",
)


@dataclass(frozen=True)
class TrainingData:
    """Labelled images and which of them are for what.

    images: uint8 [N, H, W, 3]. labels: int64 [N], the numbers of the classes. train_rows and
    valid_rows: int64, rows of the two; valid_rows may be empty. The means and deviations are those
    of the channels in 0…1.
    """

    images: Tensor
    labels: Tensor
    train_rows: Tensor
    valid_rows: Tensor
    num_classes: int
    channel_means: list[float]
    channel_deviations: list[float]

    def to(self, device: torch.device) -> "TrainingData":
        """Return the same data on a device."""
        return TrainingData(
            self.images.to(device),
            self.labels.to(device),
            self.train_rows.to(device),
            self.valid_rows.to(device),
            self.num_classes,
            self.channel_means,
            self.channel_deviations,
        )


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
        }


def train(
    data: TrainingData,
    recipe: dict[str, Any],
    seed: int,
    device: torch.device,
    precision: str,
    history_file: Path,
    checkpoint_folder: Path,
    fingerprint: str,
) -> Trained:
    """Train a recipe's network, carrying on from a checkpoint of the same `fingerprint`.

    After each epoch the checkpoint and `history_file` are written, and a line is logged. The
    weights are the same, bit for bit, for the same data, recipe, seed, device and number of
    threads, however often the training was interrupted. Raises `UserError` if the loss is no
    longer finite.
    """
    data = data.to(device)
    torch.manual_seed(derived_seed(seed, "weights"))
    model = create_model(recipe["model"], data.num_classes)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = create_optimizer(model, recipe["optimizer"])
    history: list[dict[str, Any]] = []

    state = checkpoint.load(checkpoint_folder, fingerprint)
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        history = state["history"]
        logger.info("carry on after epoch %d of %d", len(history), recipe["epochs"])

    valid_logits = None
    for epoch in range(len(history), recipe["epochs"]):
        start = time.perf_counter()
        loss, accuracy, examples = train_epoch(
            model, optimizer, data, recipe, seed, epoch, precision
        )
        seconds = time.perf_counter() - start
        rate = optimizer.param_groups[0]["lr"]
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is not finite in epoch {epoch + 1}, at a learning rate of {rate:g}; "
                f"try override='{{optimizer: {{lr: {recipe['optimizer']['lr'] / 10:g}}}}}', "
                "or precision: fp32"
            )
        valid_accuracy, valid_logits = validate(model, data, recipe, precision)
        history.append(
            {
                "epochs": epoch + 1,
                "train_loss": loss,
                "train_accuracy": accuracy,
                "valid_accuracy": valid_accuracy,
                "learning_rate": rate,
                "examples_per_second": examples / seconds,
                "seconds": seconds,
                "device": device_name(device),
                "precision": precision,
            }
        )
        write_history(history_file, history)
        logger.info(epoch_line(history[-1], recipe["epochs"]))
        checkpoint.save(
            checkpoint_folder,
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "history": history,
            },
            fingerprint,
        )
    write_history(history_file, history)
    if valid_logits is None:
        _, valid_logits = validate(model, data, recipe, precision)
    return Trained(model, history, valid_logits)


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: TrainingData,
    recipe: dict[str, Any],
    seed: int,
    epoch: int,
    precision: str,
) -> tuple[float, float, int]:
    """Train for one epoch; return the mean loss and accuracy, and the number of images seen.

    Loss and accuracy are those of the augmented batches as they come, as the chapter has them.
    """
    device = data.images.device
    images = len(data.train_rows)
    batch_size = recipe["batch_size"]
    whole_batches = recipe["drop_last"] and images >= batch_size
    steps = images // batch_size if whole_batches else math.ceil(images / batch_size)
    order = torch.randperm(images, generator=generator(seed, "order", epoch))
    draws = draw(recipe["augmentation"], images, seed, epoch)
    torch.manual_seed(derived_seed(seed, "network", epoch))

    # Kept on the device: reading them in every step would wait for it each time.
    losses_of_batches: list[Tensor] = []
    correct = torch.zeros((), device=device, dtype=torch.int64)
    seen = 0
    model.train()
    title = f"epoch {epoch + 1}/{recipe['epochs']}"
    with counter(total=steps, description=title, unit="batches") as advance:
        for step in range(steps):
            chosen = order[step * batch_size : (step + 1) * batch_size]
            rows = data.train_rows[chosen.to(device)]
            labels = data.labels[rows]
            batch = standardise(data.images[rows], data.channel_means, data.channel_deviations)
            batch = apply(batch, recipe["augmentation"], draws.of(chosen, device))
            batch = batch.contiguous(memory_format=torch.channels_last)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(
                    recipe["schedule"],
                    recipe["optimizer"]["lr"],
                    recipe["epochs"],
                    steps,
                    epoch * steps + step,
                )
            with autocast(device, precision):
                logits = model(batch)
            losses = loss_of_each(logits.float(), labels, recipe["loss"])
            optimizer.zero_grad(set_to_none=True)
            loss = losses.sum() if recipe["loss"]["reduction"] == "sum" else losses.mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses_of_batches.append(losses.detach().sum())
            correct += (logits.detach().argmax(dim=1) == labels).sum()
            seen += len(rows)
            advance(1)
    return sum(torch.stack(losses_of_batches).tolist()) / seen, correct.item() / seen, seen


def validate(
    model: nn.Module, data: TrainingData, recipe: dict[str, Any], precision: str
) -> tuple[float | None, np.ndarray | None]:
    """Return top-1 accuracy and float32 logits of the validation images, or None without any."""
    if len(data.valid_rows) == 0:
        return None, None
    logits = predict_logits(
        model,
        data.images[data.valid_rows],
        data.channel_means,
        data.channel_deviations,
        batch_size=VALIDATION_BATCH_SIZE,
        precision=precision,
        test_time_augmentation=recipe["test_time_augmentation"],
        description="validate",
    )
    labels = data.labels[data.valid_rows].cpu()
    return (logits.argmax(dim=1) == labels).double().mean().item(), logits.numpy()


def write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """Write a table with a row for each epoch; an accuracy that isn't known is left empty."""
    rows = ([row[column] for column in HISTORY_COLUMNS] for row in history)
    write_rows(path, HISTORY_COLUMNS, rows)


def write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    """Write metrics.json."""
    write_text(path, json.dumps(metrics, indent=2, sort_keys=True) + "\n")


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """Return an epoch's line in the chapter's terms."""
    valid = row["valid_accuracy"]
    return (
        f"epoch {row['epochs']:>{len(str(epochs))}}/{epochs}: "
        f"train loss {row['train_loss']:.3f}, train acc {row['train_accuracy']:.3f}, "
        + (f"valid acc {valid:.3f}, " if valid is not None else "")
        + f"{row['examples_per_second']:,.0f} examples/sec on {row['device']}"
    )
