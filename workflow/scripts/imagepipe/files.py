"""Atomic writes, and CSV tables whose errors name the bad row."""

import csv
import glob
import hashlib
import os
import re
import shutil
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagepipe.errors import UserError, one_line, quoted

# A field may hold all pixels of an image. Python's own limit is 131,072 characters.
csv.field_size_limit(1 << 24)

LINK_MODES = ("hardlink", "symlink", "copy")
# A spreadsheet treats a field that starts like this as a formula, which can run a program.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
# Files with these endings, in any case, are images.
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")
# Files and folders that file managers and synchronization leave behind, besides hidden ones.
JUNK = ("__MACOSX", "@eaDir", "@__thumb", "#recycle", "$RECYCLE.BIN", "Thumbs.db", "desktop.ini")
_NUMBER = re.compile("0*([0-9]+)")


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` if the block succeeds.

    If the block raises, remove the temporary file and leave `target` unchanged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # Only one job at a time writes a file, so killed jobs have left these.
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
    """Write UTF-8 text with \\n line ends, atomically."""
    with atomic_write(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_rows(
    target: Path, header: Sequence[str], rows: Iterable[Sequence[object]], delimiter: str = ","
) -> None:
    """Write a table with a header line, atomically."""
    with (
        atomic_write(target) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def spreadsheet_safe(text: str) -> str:
    """Return foreign text as a field for spreadsheets: formulas get a leading "'".

    `text_of_field` removes it.
    """
    return f"'{text}" if text.lstrip("'").startswith(FORMULA_STARTS) else text


def text_of_field(field: str) -> str:
    """Return the text behind a field (the inverse of `spreadsheet_safe`)."""
    has_mark = field.startswith("'") and field.lstrip("'").startswith(FORMULA_STARTS)
    return field[1:] if has_mark else field


def read_rows(
    path: Path, columns: Sequence[str], delimiter: str = ","
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line number, values of `columns`) for each row of a table with a header line.

    The header is line 1. A byte-order mark, CRLF line ends and spaces around values are accepted;
    blank lines are skipped. Raises `UserError`, with the file and line, if the file is missing or
    not UTF-8 CSV, lacks a column or has it twice, or if a row and the header differ in length.
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
    """Return the number of rows of a table written by a stage, without its header."""
    with path.open("rb") as file:
        return sum(1 for _ in file) - 1


def check_room(folder: Path, needed: int) -> None:
    """Raise `UserError` if the disk of `folder` has fewer than `needed` bytes free."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        unit, name = (1e9, "GB") if needed >= 1e9 else (1e6, "MB")
        raise UserError(
            f"{folder}: the files take {needed / unit:,.2f} {name}, but the disk has room for "
            f"{free / unit:,.2f} {name}; make room, or set --directory to another disk"
        )


def write_new(path: str, content: bytes) -> None:
    """Write a new file. Follows no link and overwrites nothing.

    `path` is a string because opening a small file by `Path` takes as long as writing it.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        write_at(descriptor, content, 0)
    finally:
        os.close(descriptor)


def write_at(descriptor: int, content: bytes, offset: int) -> None:
    """Write all of `content` to an open file; `pwrite` alone may write only part of it."""
    written = os.pwrite(descriptor, content, offset)
    while written < len(content):
        written += os.pwrite(descriptor, content[written:], offset + written)


def atomic_copy(source: Path, target: Path) -> None:
    """Copy a file's content, atomically."""
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)


def nfc(name: str) -> str:
    """Return a name in Unicode's NFC, in which names that look the same are the same."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def is_image(name: str) -> bool:
    """Tell by its ending whether a file is an image."""
    return name.lower().endswith(IMAGE_ENDINGS)


def without_ending(path: str) -> str:
    """Return a path without the ending of an image's file, if it has one."""
    return path.rpartition(".")[0] if is_image(path) else path


def is_junk(name: str) -> bool:
    """Tell by its name whether a file or folder is hidden, or one of `JUNK`."""
    return (name.startswith(".") and name not in (".", "..")) or name in JUNK


def has_junk(path: str) -> bool:
    """Tell whether a file or one of the folders above it is junk (see `is_junk`)."""
    return any(map(is_junk, path.split("/")))


def files_below(folder: Path, left_out: Collection[Path] = ()) -> list[str]:
    """Return the paths below a folder of its files, sorted. Junk is passed over.

    Links are followed. `left_out` are folders to leave out, with their links resolved. Raises
    `UserError` for a link that leads to nothing or to a folder above it, and for a folder that
    cannot be read.
    """
    found: list[str] = []
    # Each folder with its path below the first one, and the folders above it.
    waiting: list[tuple[str, str, tuple[str, ...]]] = [(str(folder), "", ())]
    while waiting:
        path, below, above = waiting.pop()
        real = os.path.realpath(path)
        if real in above:
            raise UserError(f"{path}: is a link to a folder above it; remove the link")
        if any(real == str(one) for one in left_out):
            continue
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if is_junk(entry.name):
                        continue
                    if entry.is_dir():
                        waiting.append((entry.path, f"{below}{entry.name}/", (*above, real)))
                    elif entry.is_file():
                        found.append(f"{below}{entry.name}")
                    elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
                        raise UserError(
                            f"{entry.path}: is a link to a file or folder that is not there; "
                            "remove the link, or bring back what it leads to"
                        )
        except PermissionError:
            raise UserError(
                f"{path}: the folder may not be read; change its permissions, or move it away"
            ) from None
    return sorted(found)


def natural_key(text: str) -> str:
    """Return a sort key that puts "2" before "10", and "a2" before "a10" and "ab".

    The end of the key separates texts with equal numbers, such as "1" and "01".
    """
    return f"{_NUMBER.sub(_led_by_length, text)}\0{text}"


def _led_by_length(number: re.Match[str]) -> str:
    """Prefix a number with its length, after a character that sorts before all printable ones."""
    digits = number[1]
    return f"\x1f{chr(len(digits))}{digits}"


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def link(source: str, target: str, mode: str = "auto") -> None:
    """Make `target` a hard link to the file `source`, a symbolic link, or a copy.

    `mode` is one of `LINK_MODES`, or "auto" for the first that the file system allows. Raises
    `UserError` if the file system refuses that kind of link, `FileNotFoundError` if `source` is
    missing, and another `OSError` if even a copy fails.
    """
    for way in LINK_MODES if mode == "auto" else (mode,):
        try:
            if way == "hardlink":
                os.link(source, target)
            elif way == "symlink":
                Path(source).stat()  # a dangling symbolic link would raise nothing
                os.symlink(os.path.relpath(source, Path(target).parent), target)
            else:
                atomic_copy(Path(source), Path(target))
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
