"""Working directories with trainings in all states, for the tests of `imagepipe watch`."""

import math
import os
import sys
from pathlib import Path

from builders import SCRIPTS
from imagepipe.progress import _Lines
from imagepipe.training.history import EpochMetrics, epoch_line, write_history, write_metrics

# The command, of this checkout's library.
WATCH = [
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); from imagepipe.cli import main; main()",
    "watch",
]
# A moment, as Unix time.
NOW = 1_800_000_000.0
START = "train on cpu in fp32 (as asked for), 2 threads"
FAILURE = "error: the loss is not finite in epoch 3, step 2; try a smaller learning rate"
STOP = "stopped by SIGTERM after epoch 3 of 8; the same command carries on from there"
MINUTE, HOUR = 60.0, 3600.0


def epochs_of(
    count: int, *, valid: bool = True, metric: str | None = None, seconds: float = 10.0
) -> list[EpochMetrics]:
    """Return epochs of a training that gets better."""
    return [
        EpochMetrics(
            epochs=number,
            train_loss=2.2 * math.exp(-number / 4),
            train_accuracy=1 - 0.8 * math.exp(-number / 3),
            valid_accuracy=0.97 - 0.8 * math.exp(-number / 4) if valid else None,
            learning_rate=0.2 - 0.02 * number,
            examples_per_second=90.0,
            seconds=seconds,
            device="cpu",
            precision="fp32",
            metric_name=metric or ("accuracy" if valid else None),
            metric=0.9 - 0.5 * math.exp(-number / 4) if valid else None,
        )
        for number in range(1, count + 1)
    ]


def progress_line(images: int, total: int, figures: str, seconds: float = 10.0) -> str:
    """Return a progress line of a training as it is logged."""
    lines = _Lines(total, "train", "images", initial=0)
    lines.done, lines.figures = images, figures
    return lines.line(seconds)


class WorkingDirectory:
    """A working directory of the workflow, with the files of trainings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self,
        run: str = "fast",
        *,
        dataset: str = "sample",
        seed: int = 0,
        training: str = "train",
        epochs: list[EpochMetrics] = [],  # noqa: B006
        num_epochs: int = 8,
        log: list[str] | None = None,
        has_history: bool = True,
        has_metrics: bool = False,
        silent: float = 1.0,
    ) -> Path:
        """Add a training that last wrote `silent` seconds ago; return its folder.

        log: the lines after those of the epochs; None for a training without a log.
        """
        place = Path(dataset, run, f"seed{seed}")
        results = self.folder / "results" / place / training
        results.mkdir(parents=True)
        if epochs and has_history:
            write_history(results / "history.csv", epochs)
        if has_metrics:
            write_metrics(results / "metrics.json", epochs, 100)
        if log is not None:
            lines = [START, *(epoch_line(epoch, num_epochs) for epoch in epochs), *log]
            self.write_log(place, training, "".join(f"{line}\n" for line in lines))
        self.set_times(place, training, NOW - silent)
        return results

    def log(self, place: Path, training: str) -> Path:
        name = {"train": "train.log", "final": "retrain.log"}[training]
        return self.folder / "logs" / place / name

    def write_log(self, place: Path, training: str, text: str) -> None:
        path = self.log(place, training)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def set_times(self, place: Path, training: str, changed: float) -> None:
        """Let all files of a training have changed at the same time."""
        results = self.folder / "results" / place / training
        for path in (self.log(place, training), *results.glob("*")):
            if path.exists():
                os.utime(path, (changed, changed))


def all_states(folder: Path) -> WorkingDirectory:
    """Make trainings of two datasets, one in each state."""
    made = WorkingDirectory(folder)
    line = progress_line(5400, 8000, "epoch 6 of 8, loss 1.093, acc 0.980, lr 0.074")
    made.add(epochs=epochs_of(5), log=[line])
    made.add(training="final", epochs=epochs_of(8, valid=False), log=[], has_metrics=True, silent=9)
    made.add("small", epochs=epochs_of(2), has_history=False, log=[FAILURE], silent=MINUTE)
    made.add("small", seed=1, epochs=epochs_of(3), has_history=False, log=[STOP], silent=5 * MINUTE)
    made.add("accurate", epochs=epochs_of(4), log=[], silent=HOUR)
    made.add("best")
    kappa = epochs_of(8, metric="quadratic_weighted_kappa")
    made.add(dataset="aptos2019", epochs=kappa, log=[], has_metrics=True, silent=2 * HOUR)
    return made
