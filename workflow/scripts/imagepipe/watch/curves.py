"""The curves of a training: loss, accuracy and the competition's metric over its epochs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from imagepipe.display.escaping import shorten
from imagepipe.watch.status import State, TrainingStatus
from imagepipe.watch.texts import number_text

LONGEST_TITLE = 30
# A validated and a final training.
IF_NONE_RUNS = 2
MOST_TICKS = 7


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
    """Curves with the same axes: the epochs 1…last_epoch, and the values low…high.

    `ticks` has low, high and the round numbers between them.
    """

    title: str
    curves: Sequence[Curve]
    last_epoch: int
    ticks: Sequence[float]

    @property
    def low(self) -> float:
        """The lowest value of the axis."""
        return self.ticks[0]

    @property
    def high(self) -> float:
        """The highest value of the axis."""
        return self.ticks[-1]


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
            plots.append(Plot(title, kept, last_epoch, ticks(min(values), max(values))))
    return plots


def to_plot(found: Sequence[TrainingStatus], most: int) -> list[TrainingStatus]:
    """Return the trainings to show the curves of: those that run, or else the first ones."""
    running = [one for one in found if one.state == State.RUNNING]
    return (running or [one for one in found if one.epochs][:IF_NONE_RUNS])[:most]


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers at equal distances, at most `MOST_TICKS`, around a range of values."""
    span = max(high - low, 1e-9 * abs(high), 1e-9)
    power = 10.0 ** math.floor(math.log10(span / MOST_TICKS))
    for step in (power * factor for factor in (1, 2, 5, 10, 20, 50)):
        lowest, highest = math.floor(low / step), math.ceil(high / step)
        if highest - lowest < MOST_TICKS:
            break
    return [number * step for number in range(lowest, max(highest, lowest + 1) + 1)]


def _curve(status: TrainingStatus, name: str, key: str, *, dashed: bool = False) -> Curve:
    values = ((epoch.number, getattr(epoch, key)) for epoch in status.epochs)
    points = [(number, value) for number, value in values if value is not None]
    return Curve(name, points, dashed)
