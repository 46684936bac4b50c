"""Reading the files of trainings, each again only when it has changed. Nothing is written."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from imagepipe.errors import UserError
from imagepipe.training.history import EpochMetrics, read_history
from imagepipe.watch.job_log import JobLog, is_possible, parse_log
from imagepipe.watch.places import Place, is_folder

Content = TypeVar("Content")
_Stamp = tuple[int, int, int]

# The most of a log that is read: its end has the closing line and hundreds of epochs.
LONGEST_LOG = 1 << 18
# A history of 100,000 epochs is smaller.
LARGEST_HISTORY = 1 << 24


@dataclass(frozen=True)
class TrainingFiles:
    """What the files of a training say.

    log: None if there is none. history: empty if there is none, or it is damaged. has_metrics,
    has_folder: whether there is metrics.json, and the folder of results. Times are Unix
    times of the last change of a file, None if it is missing; `changed` is that of all files.
    """

    log: JobLog | None = None
    history: Sequence[EpochMetrics] = ()
    log_changed: float | None = None
    history_changed: float | None = None
    has_metrics: bool = False
    has_folder: bool = True
    changed: float | None = None


@dataclass
class FileReader:
    """Reads the files of trainings. It remembers those of the last round."""

    _contents: dict[Path, tuple[_Stamp, object]] = field(default_factory=dict)

    def read_all(self, places: Sequence[Place]) -> list[TrainingFiles]:
        """Return the files of all trainings."""
        before, self._contents = self._contents, {}
        return [self._read_training(place, before) for place in places]

    def _read_training(
        self, place: Place, before: dict[Path, tuple[_Stamp, object]]
    ) -> TrainingFiles:
        def content(path: Path, found: os.stat_result, read: Callable[[Path], Content]) -> Content:
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
            known = before.get(path)
            if known is None or known[0] != stamp:
                known = stamp, read(path)
            self._contents[path] = known
            return known[1]  # type: ignore[return-value]

        history_path = place.results / "history.csv"
        # The log first: the history has each epoch before the log has it.
        log = _stat(place.log)
        log_content = content(place.log, log, _read_log) if log else None
        history = _stat(history_path)
        rows = content(history_path, history, _read_epochs) if history else ()
        metrics = _stat(place.results / "metrics.json")
        files = (log, history, metrics, _stat(place.checkpoint))
        return TrainingFiles(
            log_content,
            rows,
            log.st_mtime if log else None,
            history.st_mtime if history else None,
            metrics is not None,
            is_folder(place.results),
            max((found.st_mtime for found in files if found), default=None),
        )


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _read_log(path: Path) -> JobLog:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LONGEST_LOG))
            text = file.read(LONGEST_LOG).decode(errors="replace")
    except OSError:
        return JobLog()
    # Whatever is on a line, it ends with \n only.
    return parse_log([line.rstrip("\r") for line in text.rstrip("\n").split("\n")])


def _read_epochs(path: Path) -> list[EpochMetrics]:
    try:
        history = read_history(path) if path.stat().st_size <= LARGEST_HISTORY else []
    except (UserError, OSError):
        return []
    return history if all(map(_is_possible_row, history)) else []


def _is_possible_row(row: EpochMetrics) -> bool:
    values = (
        *(row.train_loss, row.train_accuracy, row.learning_rate),
        *(row.examples_per_second, row.seconds, row.valid_accuracy or 0, row.metric or 0),
    )
    return 0 < row.epochs < LARGEST_HISTORY and all(map(is_possible, values))
