"""TensorBoard's event files of a training: what history.csv has, as curves."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imagepipe.config.packages import missing_tensorboard
from imagepipe.errors import UserError, one_line, quoted
from imagepipe.training.history import EpochMetrics, has_own_metric

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


@contextmanager
def event_files(
    folder: Path | None, history: Sequence[EpochMetrics]
) -> Iterator[Callable[[EpochMetrics], None]]:
    """Yield a function that adds an epoch to a folder's event files. Without a folder, it is idle.

    `history` has the finished epochs of a resumed training: they are written first, and count in
    place of what an earlier attempt has written. A training that starts removes earlier files.
    Raises `UserError` if TensorBoard is not installed, or its installation is broken.
    """
    if folder is None:
        yield lambda epoch: None
        return
    writer_class = import_writer()
    if not history:
        for path in folder.glob("events.out.tfevents.*"):
            path.unlink(missing_ok=True)
    # TensorBoard drops what it has read from earlier files. One that is running with
    # --load_fast=false would wait forever for more from a file that is gone.
    writer = writer_class(str(folder), purge_step=0)

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
    except BaseException:
        # Why the training ends is to be told, not that its last values could not be written.
        with suppress(OSError):
            writer.close()
        raise
    writer.close()


def import_writer() -> "type[SummaryWriter]":
    """Import TensorBoard, which takes a second; raise `UserError` if that is impossible."""
    if message := missing_tensorboard():
        raise UserError(message)
    try:
        from torch.utils.tensorboard import SummaryWriter
    # Other versions of protobuf or NumPy than TensorBoard's raise errors of many types.
    except Exception as error:
        reason = quoted(one_line(str(error)))
        raise UserError(
            f"tensorboard is installed but cannot be imported ({reason}); run "
            "`pip install --force-reinstall tensorboard`, or set tensorboard=false"
        ) from None
    return SummaryWriter


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
