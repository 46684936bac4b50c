"""How far trainings have come, by their files alone.

Snakemake removes the outputs and the log of a job when it starts, so what is there belongs to the
last attempt. A running training has a log and, after its first epoch, history.csv; a finished one
also has metrics.json. A job that fails or is stopped ends its log with a closing line, and
Snakemake removes its outputs, and their folder if nothing else is in it; the log still has the
epochs. A killed job leaves no closing line: its files just stop changing.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from statistics import fmean

from imagepipe.config.metric_names import metric_words
from imagepipe.errors import one_line
from imagepipe.training.history import EpochMetrics
from imagepipe.watch.job_log import Epoch, JobLog
from imagepipe.watch.places import Place, find_places
from imagepipe.watch.training_files import FileReader, TrainingFiles

SECONDS_BETWEEN_LOOKS = 1.0
# Looking takes at most this fraction of the time, where a file system is slow.
MAX_LOOKING_FRACTION = 0.1
# A training writes a progress line every ten seconds, or after each step that takes longer.
SILENCE = 180.0
# Where the log has no such lines, an epoch may take this many times as long as the one before it.
SLOWER_EPOCH = 3
# The time left is told from the last epochs: with progressive resizing, the first ones are faster.
EPOCHS_OF_THE_PACE = 3
KILLED = "it ended without a closing line, as when it is killed because the memory is full"


class State(StrEnum):
    """STARTING: no file is there yet. STALE: silent for long, without an end."""

    RUNNING = "running"
    STARTING = "starting"
    FAILED = "failed"
    STOPPED = "stopped"
    STALE = "stale"
    FINISHED = "finished"


@dataclass(frozen=True)
class TrainingStatus:
    """How far a training has come; what is not known is None.

    message: why it has ended, on one line. num_epochs: how many it is to have. fraction: how much
    of the current epoch is done, 0…1; validated: how much of its validation. current: the current
    epoch's means so far. metric: the words of the competition's metric, if it is not accuracy.
    seconds: the time so far; of finished epochs, without their validation. changed: the Unix time
    of the last change of a file.
    """

    place: Place
    state: State
    epochs: Sequence[Epoch] = ()
    message: str | None = None
    num_epochs: int | None = None
    fraction: float | None = None
    validated: float | None = None
    current: Epoch | None = None
    metric: str | None = None
    device: str | None = None
    precision: str | None = None
    seconds: float | None = None
    seconds_left: float | None = None
    changed: float | None = None

    @property
    def epochs_done(self) -> int:
        """The number of finished epochs."""
        return self.epochs[-1].number if self.epochs else 0


@dataclass
class Watcher:
    """Looks at the trainings below a folder (see `find_places`), as often as it is asked to."""

    folder: Path
    _reader: FileReader = field(default_factory=FileReader)

    def look(self, now: float | None = None) -> list[TrainingStatus]:
        """Return the trainings: those that run first, then by their last change, newest first.

        now: the Unix time; that of this moment by default.
        """
        places = find_places(self.folder)
        files = self._reader.read_all(places)
        moment = time.time() if now is None else now
        found = [
            status(*one, moment)
            for one in zip(places, files, strict=True)
            if not results_were_removed(one[1], moment)
        ]
        return sorted(found, key=_order)


def pause_after(seconds: float) -> float:
    """Return the seconds to wait after a look that took some seconds."""
    return max(SECONDS_BETWEEN_LOOKS, seconds / MAX_LOOKING_FRACTION)


def results_were_removed(files: TrainingFiles, now: float) -> bool:
    """Return whether a training has finished, but somebody has removed its results since.

    Only its log is left, which has all epochs and no closing line.
    """
    log = files.log
    has_results = files.has_metrics or files.history_changed is not None
    if log is None or log.ended is not None or has_results or not log.epochs:
        return False
    is_silent = now - (files.log_changed or now) > SILENCE
    return is_silent and log.epochs[-1].number == log.num_epochs


def status(place: Place, files: TrainingFiles, now: float) -> TrainingStatus:
    """Return the status of a training at the Unix time `now`."""
    log, history = files.log or JobLog(), files.history
    epochs = [_epoch(row) for row in history] or log.epochs
    done = epochs[-1].number if epochs else 0
    state, message = _state(files, log, epochs, now)
    progress, fraction, current = log.progress, None, None
    if progress and progress.all_images and log.num_epochs:
        fraction = progress.images / progress.all_images * log.num_epochs - done
        fraction = min(1.0, max(0.0, fraction))
        current = Epoch(
            done + 1,
            progress.train_loss,
            progress.train_accuracy,
            lr=progress.lr,
            images_per_second=progress.images_per_second,
        )
    metric = log.metric
    if history and history[0].metric_name:
        metric = one_line(metric_words(history[0].metric_name))
    seconds, seconds_left = _times(files, log, state, now)
    return TrainingStatus(
        place,
        state,
        epochs,
        message,
        num_epochs=done if state == State.FINISHED else log.num_epochs,
        fraction=fraction,
        validated=log.validated,
        current=current,
        metric=metric,
        device=one_line(history[-1].device) if history else log.device,
        precision=one_line(history[-1].precision) if history else log.precision,
        seconds=seconds,
        seconds_left=seconds_left,
        changed=files.changed,
    )


def _order(one: TrainingStatus) -> tuple[int, float]:
    first = {State.RUNNING: 0, State.STARTING: 1}
    return first.get(one.state, len(first)), -(one.changed or 0.0)


def _state(
    files: TrainingFiles, log: JobLog, epochs: Sequence[Epoch], now: float
) -> tuple[State, str | None]:
    """Return the state of a training, and why it has ended."""
    if log.ended is not None:
        return State.STOPPED if log.stopped else State.FAILED, log.ended
    if files.has_metrics:
        return State.FINISHED, None
    if files.changed is None:
        return State.STARTING, None
    longest = SILENCE
    if epochs and log.progress is None:
        longest = max(longest, SLOWER_EPOCH * (epochs[-1].seconds or 0))
    if now - files.changed <= longest:
        return State.RUNNING, None
    # Snakemake has removed the outputs, so it has seen the job's end.
    if not files.has_folder or (log.epochs and files.history_changed is None):
        return State.FAILED, KILLED
    return State.STALE, None


def _times(
    files: TrainingFiles, log: JobLog, state: State, now: float
) -> tuple[float | None, float | None]:
    """Return the seconds so far, and an estimate of those left."""
    history, progress = files.history, log.progress
    is_running = state == State.RUNNING
    if history:
        since = max(0.0, now - (files.history_changed or now)) if is_running else 0.0
        so_far = sum(row.seconds for row in history) + since
        pace = max(1e-9, fmean(row.seconds for row in history[-EPOCHS_OF_THE_PACE:]))
        if not is_running or log.num_epochs is None:
            return so_far, None
        epochs_left = log.num_epochs - history[-1].epochs
        return so_far, _positive(pace * max(epochs_left - since / pace, epochs_left - 1))
    if progress and progress.images_per_second and is_running:
        since = max(0.0, now - (files.log_changed or now))
        so_far = progress.images / progress.images_per_second + since
        left = (progress.all_images - progress.images) / progress.images_per_second
        return so_far, _positive(left - since)
    return None, None


def _positive(seconds: float) -> float | None:
    """Return an estimate, or None where it was too short."""
    return seconds if seconds > 0 else None


def _epoch(row: EpochMetrics) -> Epoch:
    return Epoch(
        row.epochs,
        row.train_loss,
        row.train_accuracy,
        row.valid_accuracy,
        row.metric,
        row.learning_rate,
        row.examples_per_second,
        row.seconds,
    )
