"""Curves in a terminal, drawn with the eight dots of Braille characters."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from imagepipe.watch.curves import Plot

# The bits of a character's dots, by row and column, from U+2800 on.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_DOTS_WIDE, _DOTS_HIGH = 2, 4
# Of a dashed curve, in dots along the longer direction.
_DASH, _GAP = 4, 3
_NUMBER_WIDTH = 7
NARROWEST, LOWEST = 30, 8

# Pieces of a line: text with a style of rich.
Line = list[tuple[str, str]]


def draw(plot: Plot, styles: Mapping[str, str], width: int, height: int) -> list[Line]:
    """Return a plot with its title and axes, as `height` lines of `width` characters.

    styles: the style of rich of each curve's name. width, height: at least `NARROWEST` and
    `LOWEST`.
    """
    labels = [f" {curve.label}" for curve in plot.curves]
    label_width = min(max(map(len, labels)), width // 2)
    rows, columns = height - 3, width - _NUMBER_WIDTH - 1 - label_width
    canvas = _Canvas(columns, rows)
    ends = []
    for curve in plot.curves:
        dots = [
            (
                round((epoch - 1) / (plot.last_epoch - 1) * (canvas.width - 1)),
                round((plot.high - value) / (plot.high - plot.low) * (canvas.height - 1)),
            )
            for epoch, value in curve.points
        ]
        canvas.draw(dots, styles[curve.name], dashed=curve.dashed)
        ends.append(dots[-1][1] // _DOTS_HIGH)
    ends = _apart(ends, rows)
    lines: list[Line] = [[(plot.title.center(width)[:width], "bold")]]
    for row in range(rows):
        number = {0: _number(plot.high), rows - 1: _number(plot.low)}.get(row, "")
        label, style = "", ""
        if row in ends:
            label, style = labels[ends.index(row)], styles[plot.curves[ends.index(row)].name]
        lines.append(
            [
                (f"{number:>{_NUMBER_WIDTH}}│", "dim"),
                *canvas.row(row),
                (f"{label:<{label_width}}"[:label_width], style),
            ]
        )
    axis = f"{'':{_NUMBER_WIDTH}}└{'─' * columns}"
    epochs = f"{plot.last_epoch} epochs"
    numbers = f"{'':{_NUMBER_WIDTH + 1}}1{epochs:>{columns - 1}}"
    return [*lines, [(axis.ljust(width), "dim")], [(numbers[:width].ljust(width), "dim")]]


def _number(value: float) -> str:
    text = f"{value:.3g}"
    return text if len(text) <= _NUMBER_WIDTH else f"{value:.0e}"


class _Canvas:
    """Dots, each character with the style of the curve that was last drawn there."""

    def __init__(self, columns: int, rows: int) -> None:
        self.width, self.height = columns * _DOTS_WIDE, rows * _DOTS_HIGH
        self.bits = [[0] * columns for _ in range(rows)]
        self.styles = [[""] * columns for _ in range(rows)]

    def draw(self, dots: Sequence[tuple[int, int]], style: str, *, dashed: bool) -> None:
        drawn = _line(dots if len(dots) > 1 else [dots[0], (dots[0][0] + 1, dots[0][1])])
        for number, (x, y) in enumerate(drawn):
            if not dashed or number % (_DASH + _GAP) < _DASH:
                row, column = y // _DOTS_HIGH, x // _DOTS_WIDE
                self.bits[row][column] |= _DOTS[y % _DOTS_HIGH][x % _DOTS_WIDE]
                self.styles[row][column] = style

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


def _apart(rows: list[int], count: int) -> list[int]:
    """Move rows that are the same to free ones near them."""
    taken: list[int] = []
    for row in rows:
        free = [other for other in range(count) if other not in taken] or [row]
        taken.append(min(free, key=lambda other: abs(other - row)))
    return taken
