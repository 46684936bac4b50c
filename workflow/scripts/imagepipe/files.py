"""Reading and writing files so that nothing half-written is ever taken for whole."""

import csv
import glob
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from imagepipe.errors import UserError, one_line, quoted

LINK_MODES = ("hardlink", "symlink", "copy")
# What makes a spreadsheet take the text of a field for a formula, which can run a program.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
# Numbers of more digits are not the usual case, and Python refuses those of thousands.
USUAL_DIGITS = 18
_NUMBER = re.compile("0*([0-9]+)")


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`, and rename it to `target` when the block succeeds.

    If the block raises, the temporary file is removed and `target` is left as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # One job at a time writes a file, so these are of jobs that were killed.
    for left_over in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        left_over.unlink(missing_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text with \\n line ends, whole or not at all."""
    with atomic_write(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_rows(
    target: Path, header: Sequence[str], rows: Iterable[Sequence[object]], delimiter: str = ","
) -> None:
    """Write a table with a header line, whole or not at all."""
    with (
        atomic_write(target) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def spreadsheet_safe(text: str) -> str:
    """Return a text from outside as a field of a table that people open in a spreadsheet.

    It puts a "'" in front of what would be a formula; `text_of_field` takes that away again.
    """
    return f"'{text}" if text.lstrip("'").startswith(FORMULA_STARTS) else text


def text_of_field(field: str) -> str:
    """Return the text of which `spreadsheet_safe` has made a field."""
    has_mark = field.startswith("'") and field.lstrip("'").startswith(FORMULA_STARTS)
    return field[1:] if has_mark else field


def read_rows(
    path: Path, columns: Sequence[str], delimiter: str = ","
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line number, values of `columns`) for each row of a table with a header line.

    A byte-order mark, CRLF line ends and spaces around a value are accepted, and blank lines are
    skipped; the header is line 1. Raises `UserError`, with the file and line, if the file is not
    UTF-8 text, lacks a column or has it twice, or has a row with more or fewer fields than the
    header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            for column in columns:
                if column not in header:
                    found = quoted(", ".join(header)) if header else "nothing"
                    raise UserError(
                        f"{path}: row 1: there is no column {column!r} (found: {found}); "
                        "correct the header, or the column's name in the dataset file"
                    )
                if header.count(column) > 1:
                    raise UserError(
                        f"{path}: row 1: the column {column!r} is there twice; correct the header"
                    )
            positions = [header.index(column) for column in columns]
            for row in reader:
                if not "".join(row).strip():
                    continue
                if len(row) != len(header):
                    raise UserError(
                        f"{path}: row {reader.line_num}: {len(row)} fields where the header has "
                        f"{len(header)}; correct the row"
                    )
                yield reader.line_num, tuple([row[position].strip() for position in positions])
    except FileNotFoundError:
        raise UserError(f"{path}: the file does not exist; get it again") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(
            f"{path}: row {reader.line_num}: not valid CSV ({one_line(str(error))}); correct it"
        ) from None


def count_rows(path: Path) -> int:
    """Return the number of rows below the header of a table that one of the stages has written."""
    with path.open("rb") as file:
        return sum(1 for _ in file) - 1


def check_room(folder: Path, needed: int) -> None:
    """Raise `UserError` if the disk of a folder has less room than `needed`, in bytes."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise UserError(
            f"{folder}: the images take {needed / 1e9:,.2f} GB, and the disk has room for "
            f"{free / 1e9:,.2f} GB; make room, or set --directory to another disk"
        )


def write_new(path: str, content: bytes) -> None:
    """Write a file that must not exist yet: no link is followed, and nothing overwritten.

    For hundreds of thousands of small files, where `Path.open` takes as long as the writing.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        write_at(descriptor, content, 0)
    finally:
        os.close(descriptor)


def write_at(descriptor: int, content: bytes, place: int) -> None:
    """Write all of `content` into an open file; a disk that is almost full takes only a part."""
    written = os.pwrite(descriptor, content, place)
    while written < len(content):
        written += os.pwrite(descriptor, content[written:], place + written)


def read_at_most(path: str, size: int) -> bytes:
    """Return up to `size` bytes of a small file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file's content, whole or not at all."""
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)


def natural_key(text: str) -> str:
    """Return a text by which to sort: under it, "2" comes before "10", and "a2" before "a10"."""
    stem, _, ending = text.partition(".")
    if stem.isdecimal() and stem.isascii() and stem[0] != "0" and ending.isalpha():
        # The usual name of an image's file, in half the time.
        return f"{_number_start(len(stem))}{text}"
    return _NUMBER.sub(lambda found: f"{_number_start(len(found[1]))}{found[1]}", text)


@cache
def _number_start(digits: int) -> str:
    """Return what stands before a number without leading zeros: the longer one is the greater.

    Numbers come before all printable characters.
    """
    length = chr(0x20 + digits) if digits < USUAL_DIGITS else f"\x7f{digits:09}"
    return f"\x1f{length}"


def natural_order(paths: Iterable[str]) -> list[str]:
    """Sort paths of one folder by their names, "2.png" before "10.png"."""
    found = list(paths)
    stems = [path.rpartition("/")[2].partition(".")[0] for path in found]
    if all(stem.isdecimal() and stem.isascii() and len(stem) <= USUAL_DIGITS for stem in stems):
        # The usual case, which for 300,000 images is to take no second.
        return [path for _, path in sorted(zip(map(int, stems), found, strict=True))]
    return sorted(found, key=natural_key)


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def link(source: str, target: str, mode: str = "auto") -> None:
    """Make `target` stand for the file `source`, by the first way that the file system allows.

    `mode` is "hardlink", "symlink", "copy", or "auto": hard link, else symbolic link, else copy.
    Raises `UserError` if a link that was asked for is refused, `FileNotFoundError` if there is no
    `source`, and another `OSError` if even a copy is refused.
    """
    for way in LINK_MODES if mode == "auto" else (mode,):
        try:
            if way == "hardlink":
                os.link(source, target)
            elif way == "symlink":
                Path(source).stat()  # which a symbolic link does not ask for
                os.symlink(os.path.relpath(source, Path(target).parent), target)
            else:
                copy_whole(Path(source), Path(target))
            return
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError as error:
            if way == "copy":
                raise
            if mode != "auto":
                raise UserError(
                    f"{target}: the file system refuses a {mode} ({error}); "
                    "set link_mode to auto or copy"
                ) from None
