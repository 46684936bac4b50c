"""When a training writes a checkpoint, and how a signal stops it."""

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

from imagepipe.errors import Stopped
from imagepipe.interruption import StopRequest
from imagepipe.training import checkpoint
from imagepipe.training.build import Training

logger = logging.getLogger(__name__)

# The largest fraction of the time that the checkpoints after epochs may take.
MAX_SAVING_FRACTION = 0.05


@dataclass(frozen=True)
class Checkpoints:
    """Where a training's checkpoints lie, and how many seconds of work may lie between two.

    A checkpoint with another `fingerprint` belongs to another training.
    """

    folder: Path
    fingerprint: str
    seconds_between: float = math.inf


def resume(training: Training, checkpoints: Checkpoints) -> bool:
    """Continue from the checkpoint, if there is one; say whether there was."""
    group = training.group
    # The first process may set the checkpoint aside, so the others look for it after that.
    if not group.is_first:
        group.barrier()
    saved = checkpoint.load(checkpoints.folder, checkpoints.fingerprint)
    if group.is_first:
        group.barrier()
    if saved is None:
        return False
    training.restore(saved)
    logger.info("carry on after %s", training.progress_text())
    return True


class Saver:
    """Decides when to write a checkpoint, and stops the training when a signal asks for it.

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
        if self.seconds_to_save <= MAX_SAVING_FRACTION * (time.monotonic() - self.saved_at):
            self.save()

    def stop_if_asked(self) -> None:
        """Save and raise `Stopped` if a signal has come."""
        if self.stop.signal is not None and self.training.group.is_first:
            self.save()
            raise Stopped(
                f"stopped by {self.stop.signal.name} after {self.training.progress_text()}; the "
                "same command carries on from there",
                self.stop.signal,
            )

    def stop_without_saving(self) -> None:
        """Raise `Stopped` if a signal has come, before there is anything to carry on from."""
        if self.stop.signal is not None and self.training.group.is_first:
            raise Stopped(
                f"stopped by {self.stop.signal.name} before the first epoch; the same command "
                "starts again",
                self.stop.signal,
            )

    def save(self) -> None:
        """Write a checkpoint, unless a loss is not finite: then raise `UserError`."""
        if not self.training.group.is_first:
            return
        if self.training.state.step:
            self.training.mean_loss_and_accuracy()
        start = time.monotonic()
        state = self.training.checkpoint_state()
        checkpoint.save(self.checkpoints.folder, state, self.checkpoints.fingerprint)
        self.saved_at = time.monotonic()
        self.seconds_to_save = self.saved_at - start
