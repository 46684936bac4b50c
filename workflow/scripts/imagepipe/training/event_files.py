"""TensorBoard's event files of a training: what history.csv has, as curves."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagepipe.config.tensorboard_package import missing_tensorboard
from imagepipe.errors import UserError
from imagepipe.training.history import EpochMetrics, has_own_metric


@contextmanager
def event_files(
    folder: Path | None, history: Sequence[EpochMetrics]
) -> Iterator[Callable[[EpochMetrics], None]]:
    """Yield a function that adds an epoch to a folder's event files. Without a folder, it is idle.

    `history` has the finished epochs of a resumed training: they are written first, and count in
    place of what an earlier attempt has written. A training that starts removes earlier files.
    Raises `UserError` if TensorBoard is not installed.
    """
    if folder is None:
        yield lambda epoch: None
        return
    if message := missing_tensorboard():
        raise UserError(message)
    # It takes a second to import.
    from torch.utils.tensorboard import SummaryWriter

    if not history:
        for path in folder.glob("events.out.tfevents.*"):
            path.unlink(missing_ok=True)
    # TensorBoard drops what it has read from earlier files. One that is running with
    # --load_fast=false would wait forever for more from a file that is gone.
    writer = SummaryWriter(str(folder), purge_step=0)

    def add(epoch: EpochMetrics, wall_time: float | None = None) -> None:
        for tag, value in scalars(epoch).items():
            writer.add_scalar(tag, value, epoch.epochs, wall_time)
        writer.flush()

    try:
        ended = time.time() - sum(epoch.seconds for epoch in history)
        for epoch in history:
            ended += epoch.seconds
            add(epoch, ended)
        yield add
    finally:
        writer.close()


def scalars(epoch: EpochMetrics) -> dict[str, float]:
    """Return the known values of an epoch, by TensorBoard's tags."""
    values = {
        "loss/train": epoch.train_loss,
        "accuracy/train": epoch.train_accuracy,
        "accuracy/valid": epoch.valid_accuracy,
        "learning_rate": epoch.learning_rate,
        "images_per_second": epoch.examples_per_second,
    }
    if has_own_metric(epoch):
        values[f"metric/{epoch.metric_name}"] = epoch.metric
    return {tag: value for tag, value in values.items() if value is not None}
