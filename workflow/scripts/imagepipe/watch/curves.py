"""The curves of a training: loss, accuracy and the competition's metric over its epochs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from imagepipe.watch.status import State, TrainingStatus
from imagepipe.watch.texts import number_text, shorten

LONGEST_TITLE = 30


@dataclass(frozen=True)
class Curve:
    """A named curve through points (epoch, value); it has one at least, and all are finite.

    Curves are told apart by `dashed`, by `label` at their end, and by the color of their `name`:
    "train" or "valid".
    """

    name: str
    points: Sequence[tuple[int, float]]
    dashed: bool = False

    @property
    def label(self) -> str:
        """The name and the last value."""
        return f"{self.name} {number_text(self.points[-1][1])}"


@dataclass(frozen=True)
class Plot:
    """Curves with the same axes: the epochs 1…last_epoch, and the values low…high."""

    title: str
    curves: Sequence[Curve]
    last_epoch: int
    low: float
    high: float


def plots_of(status: TrainingStatus) -> list[Plot]:
    """Return the plots of a training, none before its first epoch has ended."""
    found = [
        ("loss", [_curve(status, "train", "train_loss")]),
        (
            "accuracy",
            [
                _curve(status, "train", "train_accuracy", dashed=True),
                _curve(status, "valid", "valid_accuracy"),
            ],
        ),
        (shorten(status.metric or "", LONGEST_TITLE), [_curve(status, "valid", "metric")]),
    ]
    last_epoch = max([status.num_epochs or 2, 2, *(epoch.number for epoch in status.epochs)])
    plots = []
    for title, curves in found:
        kept = [curve for curve in curves if curve.points]
        if kept:
            values = [value for curve in kept for _, value in curve.points]
            plots.append(Plot(title, kept, last_epoch, *limits(min(values), max(values))))
    return plots


def to_plot(found: Sequence[TrainingStatus], most: int) -> list[TrainingStatus]:
    """Return the trainings to show the curves of: those that run, or else the first with curves."""
    running = [one for one in found if one.state == State.RUNNING]
    return running[:most] or [one for one in found if one.epochs][:1]


def limits(low: float, high: float) -> tuple[float, float]:
    """Return round numbers around a range of values."""
    span = max(high - low, 1e-9 * abs(high), 1e-9)
    step = 10.0 ** math.floor(math.log10(span)) / 5
    return math.floor(low / step) * step, (math.floor(high / step) + 1) * step


def _curve(status: TrainingStatus, name: str, key: str, *, dashed: bool = False) -> Curve:
    values = ((epoch.number, getattr(epoch, key)) for epoch in status.epochs)
    points = [(number, value) for number, value in values if value is not None]
    return Curve(name, points, dashed)
