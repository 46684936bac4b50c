"""Curves in a terminal, drawn with the eight dots of Braille characters."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from imagepipe.watch.texts import number_text

# The bits of a character's dots, by row and column, from U+2800 on.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_DOTS_WIDE, _DOTS_HIGH = 2, 4
# Of a dashed curve, in dots along the longer direction.
_DASH, _GAP = 4, 3
_NUMBER_WIDTH = 6
NARROWEST, LOWEST = 30, 5

# Pieces of a line: text with a style of rich.
Line = list[tuple[str, str]]


@dataclass(frozen=True)
class Curve:
    """A named curve through points (epoch, value), in a style of rich. Values are finite."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str
    dashed: bool = False


def plot(
    title: str, curves: Sequence[Curve], last_epoch: int, width: int, height: int
) -> list[Line]:
    """Return a plot of curves over the epochs 1…last_epoch, with its title and axes.

    width, height: in characters, at least `NARROWEST` and `LOWEST`. Curves without points are left
    out; each other one has its name and last value at its end. Returns `height` lines of `width`
    characters.
    """
    curves = [curve for curve in curves if curve.points]
    values = [value for curve in curves for _, value in curve.points]
    low, high = _limits(min(values, default=0.0), max(values, default=1.0))
    names = [f" {curve.name} {number_text(curve.points[-1][1])}" for curve in curves]
    name_width = min(max(map(len, names), default=0), width // 2)
    rows, columns = height - 3, width - _NUMBER_WIDTH - 1 - name_width
    canvas = _Canvas(columns, rows)
    last = max([last_epoch, 2, *(math.ceil(x) for curve in curves for x, _ in curve.points)])
    for curve in curves:
        dots = [
            (
                round((x - 1) / (last - 1) * (canvas.width - 1)),
                round((high - y) / (high - low) * (canvas.height - 1)),
            )
            for x, y in curve.points
        ]
        canvas.draw(dots, curve)
    ends = _apart(
        [round((high - curve.points[-1][1]) / (high - low) * (rows - 1)) for curve in curves], rows
    )
    lines: list[Line] = [[(title.center(width)[:width], "bold")]]
    for row in range(rows):
        number = f"{high:.3g}" if row == 0 else f"{low:.3g}" if row == rows - 1 else ""
        line: Line = [(f"{number:>{_NUMBER_WIDTH}}│", "dim"), *canvas.row(row)]
        end = ends.index(row) if row in ends else None
        name, style = ("", "") if end is None else (names[end], curves[end].style)
        lines.append([*line, (f"{name:<{name_width}}"[:name_width], style)])
    axis = f"{'':{_NUMBER_WIDTH}}└{'─' * columns}"
    numbers = f"{'':{_NUMBER_WIDTH + 1}}1{f'{last} epochs':>{columns - 1}}"
    return [*lines, [(axis.ljust(width), "dim")], [(numbers[:width].ljust(width), "dim")]]


class _Canvas:
    """Dots, each character with the style of the curve that was last drawn there."""

    def __init__(self, columns: int, rows: int) -> None:
        self.width, self.height = columns * _DOTS_WIDE, rows * _DOTS_HIGH
        self.bits = [[0] * columns for _ in range(rows)]
        self.styles = [[""] * columns for _ in range(rows)]

    def draw(self, dots: Sequence[tuple[int, int]], curve: Curve) -> None:
        drawn = _line(dots if len(dots) > 1 else [dots[0], (dots[0][0] + 1, dots[0][1])])
        for number, (x, y) in enumerate(drawn):
            if not curve.dashed or number % (_DASH + _GAP) < _DASH:
                row, column = y // _DOTS_HIGH, x // _DOTS_WIDE
                self.bits[row][column] |= _DOTS[y % _DOTS_HIGH][x % _DOTS_WIDE]
                self.styles[row][column] = curve.style

    def row(self, row: int) -> Line:
        return [
            (chr(0x2800 + bits) if bits else " ", style)
            for bits, style in zip(self.bits[row], self.styles[row], strict=True)
        ]


def _line(dots: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the dots of the straight lines between neighbors."""
    for (x, y), (next_x, next_y) in pairwise(dots):
        steps = max(abs(next_x - x), abs(next_y - y), 1)
        for step in range(steps):
            yield x + round((next_x - x) * step / steps), y + round((next_y - y) * step / steps)
    yield dots[-1]


def _limits(low: float, high: float) -> tuple[float, float]:
    """Return round numbers around a range of values."""
    span = max(high - low, 1e-9 * abs(high), 1e-9)
    step = 10.0 ** math.floor(math.log10(span)) / 5
    return math.floor(low / step) * step, (math.floor(high / step) + 1) * step


def _apart(rows: list[int], count: int) -> list[int]:
    """Move rows that are the same to free ones near them; of more than there are, the last ones."""
    taken: list[int] = []
    for row in rows:
        free = [other for other in range(count) if other not in taken] or [row]
        taken.append(min(free, key=lambda other: abs(other - row)))
    return taken
