"""Predictions of new images as tables: for programs, and for people."""

import csv
import io
from collections.abc import Sequence

from imagepipe.errors import one_line
from imagepipe.files import spreadsheet_safe
from imagepipe.prediction.new_images import Prediction

COLUMNS = ("path", "label", "probability")
LONGEST_PATH = 60


def csv_text(
    predictions: Sequence[Prediction], classes: Sequence[str], top: int, all_classes: bool
) -> str:
    """Return a CSV table with a row for each image: its path, label and probability.

    More columns follow: class_1, probability_1, class_2 … of the `top` likeliest classes, and, with
    `all_classes`, the probability of every class, named after it.
    """
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    top = min(top, len(classes))
    header = [name for k in range(1, top + 1) for name in (f"class_{k}", f"probability_{k}")]
    writer.writerow([*COLUMNS, *header, *(classes if all_classes else ())])
    for one in predictions:
        row = [spreadsheet_safe(one.path), one.label, f"{one.probability:.6f}"]
        for name, value in one.top(top):
            row += [name, f"{value:.6f}"]
        if all_classes:
            row += [f"{one.probabilities[name]:.6f}" for name in classes]
        writer.writerow(row)
    return output.getvalue()


def terminal_text(predictions: Sequence[Prediction], top: int) -> str:
    """Return a table with aligned columns for a terminal: path, label, and the `top` classes."""
    rows = [list(COLUMNS)]
    for one in predictions:
        row = [_shortened(one_line(one.path)), one_line(one.label), f"{one.probability:.1%}"]
        rows.append(row + [f"{one_line(name)} {value:.1%}" for name, value in one.top(top)])
    rows[0] += [f"{k}." for k in range(1, 1 + len(rows[-1]) - len(COLUMNS))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [map(str.ljust, row, widths) for row in rows]
    return "".join(f"{'  '.join(fields).rstrip()}\n" for fields in padded)


def _shortened(path: str) -> str:
    """Return a path, without its beginning if it is long."""
    return path if len(path) <= LONGEST_PATH else f"…{path[1 - LONGEST_PATH :]}"
