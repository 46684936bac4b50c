"""CSV files, looked at: their columns, and the values of those that may say something."""

import csv
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from imagepipe.errors import UserError, one_line
from imagepipe.inspection.listing import FoundFile

ENDINGS = ("csv", "tsv", "txt")
SEPARATORS = (",", ";", "\t", "|")
# Bytes of a table; what is beyond is not looked at.
LARGEST_TABLE = 1 << 30
# Of wide tables, the values of these columns at either side are kept, and of the others the first
# rows alone.
KEPT_COLUMNS = 40
FIRST_ROWS = 1_000
MOST_ROWS = 3_000_000
MOST_COLUMNS = 20_000
# A column that holds the pixels of an image has longer values than any other.
LONG_VALUE = 200
PIXEL_COLUMN = re.compile(r"(?:pixel|px)[_ ]?[0-9]+", re.IGNORECASE)


@dataclass
class Table:
    """A CSV file: its header, and the values of its columns.

    `columns` has the values of all rows, and those of wide tables' inner columns from the first
    rows. `pixel_columns` says how many pixels an image has if each has a column, and `pixels` is
    the column that holds all of them, if there is one.
    """

    file: FoundFile
    header: list[str]
    columns: dict[str, list[str]]
    n_rows: int
    encoding: str
    pixel_columns: int = 0
    pixels: str | None = None

    @property
    def name(self) -> str:
        return self.file.name

    def whole(self, column: str) -> bool:
        """Return whether the values of all rows are kept."""
        return len(self.columns[column]) == self.n_rows


def read_table(file: FoundFile) -> Table | None:
    """Return a table, or None if it is no table."""
    if file.size > LARGEST_TABLE:
        return None
    for encoding in ("utf-8-sig", "cp1252", "latin-1"):
        with file.open() as content:
            first = content.read(2)
        if first in (b"\xff\xfe", b"\xfe\xff"):
            encoding = "utf-16"
        try:
            with file.open() as content:
                return parse(file, content, encoding)
        except UnicodeDecodeError:
            continue
        except csv.Error as error:
            raise UserError(f"{file.path}: not valid CSV ({one_line(str(error))})") from None
    return None


def parse(file: FoundFile, content: BinaryIO, encoding: str) -> Table | None:
    text = io.TextIOWrapper(content, encoding=encoding, newline="")
    head = list(itertools.islice(text, 20))
    separator = separator_of(head)
    rows = csv.reader(itertools.chain(head, text), delimiter=separator)
    header = [name.strip() for name in next(rows, [])]
    if not header or len(header) > MOST_COLUMNS or (len(header) == 1 and not header[0]):
        return None
    first = list(itertools.islice(rows_of(rows, len(header)), FIRST_ROWS))
    if not first or len(set(header)) != len(header):
        return None
    long = [n for n in range(len(header)) if min(len(row[n]) for row in first[:20]) > LONG_VALUE]
    pixel_columns = sum(1 for name in header if PIXEL_COLUMN.fullmatch(name))
    kept = [n for n in range(len(header)) if n not in long]
    if pixel_columns >= 16:
        kept = [n for n in kept if not PIXEL_COLUMN.fullmatch(header[n])]
    else:
        pixel_columns = 0
    wide = len(kept) > 2 * KEPT_COLUMNS
    all_rows = kept[:KEPT_COLUMNS] + kept[-KEPT_COLUMNS:] if wide else kept
    values = {n: [row[n].strip() for row in first] for n in kept}
    n_rows = len(first)
    seen: dict[str, str] = {}
    for row in rows_of(rows, len(header)):
        n_rows += 1
        if n_rows > MOST_ROWS:
            break
        for n in all_rows:
            value = row[n].strip()
            values[n].append(seen.setdefault(value, value))
    columns = {header[n]: values[n] for n in kept}
    written = "utf-8" if encoding in ("utf-8-sig", "utf-16") else encoding
    pixels = header[long[0]] if len(long) == 1 and is_pixels(first[0][long[0]]) else None
    return Table(file, header, columns, n_rows, written, pixel_columns, pixels)


def rows_of(rows: Iterator[list[str]], n: int) -> Iterator[list[str]]:
    """Yield the rows with as many values as the header; `labels` names the others."""
    return (row for row in rows if len(row) == n and any(row))


def separator_of(lines: list[str]) -> str:
    """Return the character that separates the values, the same number of times in most lines."""
    full = [line for line in lines if line.strip()]
    if not full:
        return ","

    def score(separator: str) -> tuple[int, int]:
        n = full[0].count(separator)
        return (sum(line.count(separator) == n for line in full) if n else 0, n)

    return max(SEPARATORS, key=score)


def is_pixels(value: str) -> bool:
    return all(part.isdigit() for part in value.split())


def count_pixels(content: BinaryIO, table: Table) -> int:
    """Return the number of pixels in the first row's column of all of them."""
    text = io.TextIOWrapper(content, encoding="utf-8", errors="replace", newline="")
    head = list(itertools.islice(text, 2))
    row = next(csv.reader(head[1:], delimiter=separator_of(head)), [])
    return len(row[table.header.index(table.pixels or "")].split()) if row else 0
