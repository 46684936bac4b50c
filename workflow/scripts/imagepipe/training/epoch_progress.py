"""Showing an epoch's loss and accuracy while it goes on, without waiting for a GPU."""

import math
import time

import torch
from torch import Tensor

from imagepipe.progress import Counter
from imagepipe.training.build import Training

SECONDS_BETWEEN_READS = 1.0


class EpochProgress:
    """Shows the current epoch's progress on a progress bar."""

    def __init__(self, training: Training, bar: Counter) -> None:
        self.training, self.bar = training, bar
        self.reader = AsyncReader(training.state.loss_and_correct)
        self.read_at = -math.inf
        self.title = f"epoch {training.state.epoch + 1} of {training.recipe.epochs}"
        bar.show(self.title)

    def after_step(self) -> None:
        """Count a step; about once a second, show loss, accuracy and learning rate.

        Raises `UserError` if a loss is not finite.
        """
        training, state = self.training, self.training.state
        self.bar.advance(training.schedule.batch_size_at(state.step - 1))
        if time.perf_counter() - self.read_at < SECONDS_BETWEEN_READS:
            return
        self.read_at = time.perf_counter()
        arrived = self.reader.read(state.loss_and_correct[: state.step])
        if arrived is not None:
            loss, accuracy = training.mean_loss_and_accuracy(arrived)
            lr = training.schedule.lr(training.global_step - 1)
            self.bar.show(f"{self.title}, loss {loss:.3f}, acc {accuracy:.3f}, lr {lr:.2g}")


class AsyncReader:
    """Reads a growing tensor from a device; it never waits for a GPU.

    `largest` is as long as the tensor will ever be.
    """

    def __init__(self, largest: Tensor) -> None:
        self.arrived = torch.cuda.Event() if largest.is_cuda else None  # type: ignore[no-untyped-call]
        self.copy = torch.empty_like(largest, device="cpu", pin_memory=largest.is_cuda)
        self.length = 0

    def read(self, values: Tensor) -> Tensor | None:
        """Return a copy of `values` on the CPU.

        On a GPU it is that of the previous call's values, or None if they have not arrived; the
        copy of these values then starts.
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
