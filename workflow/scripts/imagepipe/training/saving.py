"""When a training writes a checkpoint, and how it stops when a signal asks for it."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

from imagepipe.errors import Stopped
from imagepipe.interruption import StopRequest
from imagepipe.training import checkpoint
from imagepipe.training.state import Training

# At the end of an epoch, a checkpoint may take no more than this part of the time.
CHECKPOINT_SHARE = 0.05


@dataclass(frozen=True)
class Checkpoints:
    """Where checkpoints lie, what they belong to, and how many seconds one may cost at most.

    A checkpoint of another `fingerprint` is not carried on.
    """

    folder: Path
    fingerprint: str
    seconds_between: float = math.inf


class Saver:
    """Decides when a checkpoint is written, and stops the training when a signal asks for it.

    Of several processes the first one does so, for all.
    """

    def __init__(self, training: Training, checkpoints: Checkpoints, stop: StopRequest) -> None:
        self.training = training
        self.checkpoints = checkpoints
        self.stop = stop
        self.saved_at = time.monotonic()
        self.seconds_to_save = 0.0

    def after_step(self) -> None:
        """Save if it is time to."""
        self.stop_if_asked()
        if time.monotonic() - self.saved_at >= self.checkpoints.seconds_between:
            self.save()

    def after_epoch(self) -> None:
        """Save, unless epochs are so short that saving would take too much of the time."""
        self.stop_if_asked()
        if self.seconds_to_save <= CHECKPOINT_SHARE * (time.monotonic() - self.saved_at):
            self.save()

    def stop_if_asked(self) -> None:
        """Save and raise `Stopped` if a signal has come."""
        if self.stop.signal is not None and self.training.processes.is_first:
            self.save()
            raise Stopped(
                f"stopped by {self.stop.signal.name} after {self.training.place()}; the same "
                "command carries on from there",
                self.stop.signal,
            )

    def save(self) -> None:
        if not self.training.processes.is_first:
            return
        if self.training.step:
            # A loss that is not finite must not be carried on.
            self.training.loss_and_accuracy()
        start = time.monotonic()
        checkpoint.save(
            self.checkpoints.folder, self.training.state(), self.checkpoints.fingerprint
        )
        self.saved_at = time.monotonic()
        self.seconds_to_save = self.saved_at - start
