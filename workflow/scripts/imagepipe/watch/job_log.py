"""What the log of a training says: its epochs, its progress, and how it ended."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from imagepipe.config.closing_lines import BEGINNINGS, BUG, STOPPED
from imagepipe.errors import one_line

# A larger number comes from a damaged file; sums and axes with it could overflow.
LARGEST_NUMBER = 1e100

_COUNT = r"([\d,]{1,15})"
_NUMBER = r"([\d,.e+-]{1,20}|inf|nan)"
_START = re.compile(r"train on (.+) in (\w+) \(")
_CARRY_ON = re.compile(r"carry on after epoch (\d{1,9}) of (\d{1,9})")
# See `history.epoch_line`. A metric other than accuracy has its own words.
_EPOCH = re.compile(
    rf"epoch +(\d{{1,9}})/(\d{{1,9}}): train loss {_NUMBER}, train acc {_NUMBER}, "
    rf"(?:valid acc {_NUMBER}, )?(?:valid (.+?) {_NUMBER}, )?{_COUNT} examples/sec on (.+)"
)
# See `progress.counter` and `EpochProgress`.
_PROGRESS = re.compile(
    rf"train: {_COUNT} of {_COUNT} images, {_COUNT}/s, [\d:]+ left"
    rf"(?:, epoch \d{{1,9}} of (\d{{1,9}}))?(?:, loss {_NUMBER}, acc {_NUMBER}, lr {_NUMBER})?"
)
_VALIDATION = re.compile(rf"validate: {_COUNT} of {_COUNT} \w+, ")


@dataclass(frozen=True)
class Epoch:
    """The results of an epoch; what is not known is None. Accuracies are in 0…1."""

    number: int
    train_loss: float | None
    train_accuracy: float | None
    valid_accuracy: float | None = None
    metric: float | None = None
    lr: float | None = None
    images_per_second: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Progress:
    """A progress line: the images trained on so far, in all epochs, and those of a whole training.

    Loss and accuracy are means over the current epoch so far.
    """

    images: float
    all_images: float
    images_per_second: float
    train_loss: float | None = None
    train_accuracy: float | None = None
    lr: float | None = None


@dataclass
class JobLog:
    """What a log says. `ended` is its closing line, or what it has in its place.

    progress: the last progress line, if no epoch has ended since. validated: the fraction of the
    validation images that the current epoch has predicted, if that takes long enough for a line.
    """

    num_epochs: int | None = None
    epochs: list[Epoch] = field(default_factory=list)
    progress: Progress | None = None
    validated: float | None = None
    ended: str | None = None
    stopped: bool = False
    device: str | None = None
    precision: str | None = None
    metric: str | None = None


def parse_log(lines: Sequence[str]) -> JobLog:
    """Read the lines of a training's log; those of other kinds are passed over."""
    log = JobLog()
    for line in lines:
        if match := _EPOCH.match(line):
            number, num_epochs, loss, accuracy, valid, metric, value, rate, device = match.groups()
            loss, accuracy, valid, value, rate = map(
                number_in, (loss, accuracy, valid, value, rate)
            )
            epoch = Epoch(int(number), loss, accuracy, valid, metric=value, images_per_second=rate)
            log.epochs.append(epoch)
            log.num_epochs, log.progress, log.validated = int(num_epochs), None, None
            log.device, log.metric = one_line(device), metric and one_line(metric)
        elif match := _PROGRESS.match(line):
            images, all_images, rate, num_epochs, *last = match.groups()
            counts = (number_in(count) or 0.0 for count in (images, all_images, rate))
            log.progress = Progress(*counts, *map(number_in, last))
            log.num_epochs = int(num_epochs) if num_epochs else log.num_epochs
        elif match := _VALIDATION.match(line):
            images, all_images = (number_in(count) or 0.0 for count in match.groups())
            log.validated = min(1.0, images / all_images) if all_images else None
        elif match := _START.match(line):
            log.device, log.precision = one_line(match[1]), match[2]
        elif match := _CARRY_ON.match(line):
            log.num_epochs = int(match[2])
    if lines and lines[-1].startswith(BEGINNINGS):
        log.ended, log.stopped = one_line(lines[-1]), lines[-1].startswith(STOPPED)
    elif BUG in lines:
        log.ended = one_line(f"a bug in the workflow: {lines[-1]}")
    return log


def number_in(text: str | None) -> float | None:
    """Return a number written with or without commas; None if it is missing or impossible."""
    try:
        number = float((text or "").replace(",", ""))
    except ValueError:
        return None
    return number if is_possible(number) else None


def is_possible(number: float) -> bool:
    """Return whether a number is finite, and small enough to compute with."""
    return abs(number) < LARGEST_NUMBER
