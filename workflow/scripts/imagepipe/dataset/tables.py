"""Reading CSV files as people have them: any separator, encoding and quoting.

`files.read_rows` reads the tables that stages write.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from imagepipe.errors import UserError, nearest, one_line, quoted

SEPARATORS = (",", ";", "\t", "|")
BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# The first bytes of files that are often saved under the name of a CSV file.
OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip file",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF file",
}
HTML_STARTS = ("<!doctype", "<html", "<?xml")
# Columns without a name: pandas and R write row numbers into them.
UNNAMED = re.compile(r"(Unnamed: \d+)?")
ROWS_COMPARED = 20
VALUES_SHOWN = 5


@dataclass(frozen=True)
class TableFormat:
    """How to read a CSV file; `skipped` lines come before the header."""

    encoding: str
    separator: str
    header: tuple[str, ...]
    skipped: int = 0


def read_table(
    path: Path,
    columns: Sequence[str | None],
    *,
    where: Mapping[str, str] | None = None,
    encoding: str = "utf-8",
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line number, values of `columns`) for each row of a CSV file with a header.

    None as a column stands for the number of the row, from 1. With `where`, rows with other values
    are passed over, but counted. The separator is that of the header, "," ";" "|" or a tab; the
    encoding is `encoding`, unless the file starts with a byte-order mark. Spaces around values,
    blank lines and separators at the end of a row do not matter. Raises `UserError`, with file and
    line, for a file that cannot be read so, or lacks a column.
    """
    where = where or {}
    wanted = [*columns, *where]
    found = table_format(path, encoding, [name for name in wanted if name is not None])
    for name in wanted:
        check_column(path, found, name)
    header = found.header
    positions = [-1 if name is None else header.index(name) for name in columns]
    filters = [(header.index(name), value.strip()) for name, value in where.items()]
    count = matching = 0
    seen: set[str] = set()
    for line, row in parsed_rows(path, found):
        count += 1
        if len(row) != len(header):
            row = fitted(path, line, row, len(header))
        if filters and any(row[position].strip() != value for position, value in filters):
            if len(seen) <= VALUES_SHOWN:
                seen.add(row[filters[0][0]].strip())
            continue
        matching += 1
        yield line, tuple([row[p].strip() if p >= 0 else str(count) for p in positions])
    if filters and count and not matching:
        name = next(iter(where))
        others = ", ".join(sorted(seen)[:VALUES_SHOWN])
        raise UserError(
            f"{path}: no row has {', '.join(f'{n} = {v!r}' for n, v in where.items())} "
            f"({name} is {quoted(others)}); correct `where` in the dataset file"
        )


def read_header(path: Path, encoding: str = "utf-8") -> tuple[str, ...]:
    """Return the names of a CSV file's columns, without unnamed ones.

    Raises `UserError` for a name that comes twice.
    """
    names = tuple(
        name for name in table_format(path, encoding).header if not UNNAMED.fullmatch(name)
    )
    if not names or len(set(names)) != len(names):
        raise UserError(
            f"{path}: row 1: is not a header with a different name for each column; correct it"
        )
    return names


def check_column(path: Path, found: TableFormat, name: str | None) -> None:
    """Raise `UserError` for a column that is not in the header, or is there twice."""
    header = list(found.header)
    row = found.skipped + 1
    if name is None or header.count(name) == 1:
        return
    if name in header:
        raise UserError(
            f"{path}: row {row}: the column {name!r} is there twice; correct the header"
        )
    shown = quoted(", ".join(header)) if any(header) else "nothing"
    raise UserError(
        f"{path}: row {row}: there is no column {name!r} (found: {shown}){nearest(name, header)}; "
        "correct the header, or the column's name in the dataset file"
    )


def fitted(path: Path, line: int, row: list[str], length: int) -> list[str]:
    """Return a row without the empty fields at its end that exceed the header."""
    if len(row) > length and not any(field.strip() for field in row[length:]):
        return row[:length]
    raise UserError(
        f"{path}: row {line}: {len(row)} fields where the header has {length}; correct the row"
    )


def table_format(path: Path, encoding: str, columns: Sequence[str] = ()) -> TableFormat:
    """Return how to read a CSV file whose header should have these `columns`.

    Of the separators, the one that makes these columns and rows of equal length is chosen.
    """
    encoding = text_encoding(path, encoding)
    skipped, given = 0, ""
    with text_errors(path, encoding), path.open(encoding=encoding, newline="") as file:
        lines = [line for _, line in zip(range(ROWS_COMPARED), file, strict=False)]
    while lines and (not lines[0].strip() or lines[0].startswith("sep=")):
        # Excel reads the separator from such a line.
        given = lines[0][4:].strip("\r\n")[:1] or given
        lines, skipped = lines[1:], skipped + 1
    best: tuple[tuple[bool, bool, bool, int], TableFormat] | None = None
    for separator in [given] if given else SEPARATORS:
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        rows: list[list[str]] = []
        # Such a row is refused when it is read.
        with suppress(csv.Error):
            rows.extend(row for row in reader if "".join(row).strip())
        header = tuple(name.strip() for name in (rows or [[]])[0])
        # The last row may be cut off in the middle.
        same = all(len(row) == len(header) for row in rows[1:-1])
        score = (all(name in header for name in columns), len(header) > 1, same, len(header))
        if best is None or score > best[0]:
            best = score, TableFormat(encoding, separator, header, skipped)
    assert best is not None
    return best[1]


def text_encoding(path: Path, encoding: str) -> str:
    """Return the encoding of a text file. Raises `UserError` if it is missing or no text."""
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except FileNotFoundError:
        raise UserError(f"{path}: the file does not exist; get it again") from None
    for first, name in OTHER_FORMATS.items():
        if start.startswith(first):
            if b"[Content_Types].xml" in start or b"xl/" in start:
                name = "an Excel workbook"
            remedy = "save it as CSV" if "Excel" in name else "unpack it, or get the CSV file"
            raise UserError(f"{path}: is {name}, not a CSV file; {remedy}")
    for mark, name in BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return name
    if start.lstrip()[:9].decode("latin-1").lower().startswith(HTML_STARTS):
        raise UserError(f"{path}: is a web page, not a CSV file; download the file itself")
    if b"\0" in start:
        row = start.count(b"\n", 0, start.index(b"\0")) + 1
        raise UserError(f"{path}: row {row}: is not text, since it has NUL bytes; save it as UTF-8")
    return encoding


@contextmanager
def text_errors(path: Path, encoding: str) -> Iterator[None]:
    """Turn errors of decoding in this block into a `UserError` that names the line."""
    try:
        yield
    except UnicodeError as error:
        name = "UTF-8" if encoding.startswith("utf-8") else encoding
        reason = getattr(error, "reason", "no text")
        raise UserError(
            f"{path}: {line_of_error(path, encoding)}not {name} text ({reason}); save it as "
            "UTF-8, or set encoding in the dataset file to latin-1 or cp1252"
        ) from None


def line_of_error(path: Path, encoding: str) -> str:
    """Return "row 3: " for the first line that is not text in this encoding, or ""."""
    if encoding.startswith("utf-8"):
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return f"row {number}: "
    return ""


def parsed_rows(path: Path, found: TableFormat) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of each row below the header that is not blank."""
    with (
        text_errors(path, found.encoding),
        path.open(encoding=found.encoding, newline="") as file,
    ):
        for _ in range(found.skipped):
            file.readline()
        reader = csv.reader(file, delimiter=found.separator, skipinitialspace=True, strict=True)
        try:
            next(reader, [])
            for row in reader:
                if not row or (not row[0].strip() and not "".join(row).strip()):
                    continue
                yield found.skipped + reader.line_num, row
        except csv.Error as error:
            raise UserError(
                f"{path}: row {found.skipped + reader.line_num}: not valid CSV "
                f"({one_line(str(error))}); correct it"
            ) from None
