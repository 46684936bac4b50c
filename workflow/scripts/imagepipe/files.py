"""Reading and writing files so that nothing half-written is ever taken for whole."""

import csv
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagepipe.errors import UserError

LINK_MODES = ("hardlink", "symlink", "copy")
READ_SIZE = 1 << 20


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`, and rename it to `target` when the block succeeds.

    If the block raises, the temporary file is removed and `target` is left as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text with \\n line ends, whole or not at all."""
    with written_whole(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_rows(
    target: Path, header: Sequence[str], rows: Iterable[Sequence[object]], delimiter: str = ","
) -> None:
    """Write a table with a header line, whole or not at all."""
    with (
        written_whole(target) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_rows(
    path: Path, columns: Sequence[str], delimiter: str = ","
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line number, values of `columns`) for each row of a table with a header line.

    A byte-order mark, CRLF line ends and spaces around a value are accepted, and blank lines are
    skipped; the header is line 1. Raises `UserError`, with the file and line, if the file is not
    UTF-8 text, lacks a column, or has a row with more or fewer fields than the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            for column in columns:
                if column not in header:
                    found = ", ".join(header) or "nothing"
                    raise UserError(
                        f"{path}: row 1: there is no column {column!r} (found: {found}); "
                        "correct the header, or the column's name in the dataset file"
                    )
            positions = [header.index(column) for column in columns]
            for row in reader:
                if not any(field.strip() for field in row):
                    continue
                if len(row) != len(header):
                    raise UserError(
                        f"{path}: row {reader.line_num}: {len(row)} fields where the header has "
                        f"{len(header)}; correct the row"
                    )
                yield reader.line_num, tuple(row[position].strip() for position in positions)
    except FileNotFoundError:
        raise UserError(f"{path}: the file does not exist; get it again") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path}: not a valid CSV file ({error}); correct it") from None


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file's content, whole or not at all."""
    with written_whole(target) as temporary:
        shutil.copyfile(source, temporary)


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """Return a sort key under which "2" comes before "10", and "a2" before "a10"."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts)


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def link(source: Path, target: Path, mode: str = "auto") -> None:
    """Make `target` stand for the file `source`, by the first way that the file system allows.

    `mode` is "hardlink", "symlink", "copy", or "auto": hard link, else symbolic link, else copy.
    Raises `UserError` if a link that was asked for is refused, and `OSError` if even a copy is.
    """
    for way in LINK_MODES if mode == "auto" else (mode,):
        try:
            if way == "hardlink":
                os.link(source, target)
            elif way == "symlink":
                os.symlink(os.path.relpath(source, target.parent), target)
            else:
                copy_whole(source, target)
            return
        except FileExistsError:
            raise
        except OSError as error:
            if way == "copy":
                raise
            if mode != "auto":
                raise UserError(
                    f"{target}: the file system refuses a {mode} ({error}); "
                    "set link_mode to auto or copy"
                ) from None
