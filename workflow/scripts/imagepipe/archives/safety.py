"""Checks of untrusted archives, made before anything is unpacked."""

import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NoReturn

from imagepipe.errors import UserError, one_line, quoted

# Bytes of a file that is read into the memory. No image of a competition comes near it.
LARGEST_FILE = 1 << 30
# Images are compressed already, and tables rarely shrink to a twentieth.
LARGEST_RATIO = 200
# An archive may always unpack to this many bytes, whatever the ratio.
HARMLESS_SIZE = 1 << 28

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")


@contextmanager
def damage_in_one_line(archive: Path) -> Iterator[None]:
    """Turn whatever a library raises for a damaged archive into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except MemoryError:  # a few bytes of a header can ask for any amount
        raise UserError(
            f"{archive}: takes more memory to read than there is; close other programs, or get the "
            "archive again"
        ) from None
    except Exception as error:  # the libraries raise anything for damaged bytes
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        detail = one_line(str(error)) or type(error).__name__
        raise UserError(
            f"{archive}: damaged, cut short or encrypted ({detail}); get the archive again"
        ) from None


def check_names(archive: Path, names: Iterable[str]) -> None:
    """Raise `UserError` for a name that leads out of the folder, or is there twice.

    A file with the name of a folder counts as twice.
    """
    seen: set[str] = set()
    for name in names:
        if not _PLAIN_NAME.fullmatch(name):
            _check_odd_name(archive, name)
        if name in seen:
            raise UserError(f"{archive}: member {quoted(name)} is there twice; remove one")
        seen.add(name)
    folders = {name.rpartition("/")[0] for name in seen}
    while folders:
        for folder in sorted(folders & seen):
            raise UserError(
                f"{archive}: member {quoted(folder)} is a file and a folder; remove one"
            )
        folders = {folder.rpartition("/")[0] for folder in folders} - {""}


def _check_odd_name(archive: Path, name: str) -> None:
    member = f"{archive}: member {quoted(name)}"
    path = PurePosixPath(name)
    windows = PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise UserError(f"{member} points outside of the folder; don't trust it")
    if any("\ud800" <= c <= "\udfff" for c in name):  # Python's stand-ins for undecodable bytes
        raise UserError(f"{member} has a name that is not UTF-8; pack it again with UTF-8 names")
    if not name.isprintable():
        raise UserError(f"{member} has an unprintable name; don't trust it")
    if "\\" in name:  # separates folders on Windows, and nowhere else
        raise UserError(f"{member} has a backslash in its name; pack it again with / for folders")


def refuse_special(archive: Path, name: str) -> NoReturn:
    """Raise `UserError` for a member that is neither a file nor a folder."""
    raise UserError(f"{archive}: member {quoted(name)} is a link or a device; don't trust it")


def check_size(archive: Path, name: str, size: int | None) -> None:
    """Raise `UserError` for a file that is too large to be read into the memory."""
    if size is not None and size > LARGEST_FILE:
        raise UserError(
            f"{archive}: member {quoted(name)} unpacks to {size:,} bytes; don't trust it"
        )


def check_total(archive: Path, sizes: Iterable[int]) -> None:
    """Raise `UserError` if what is to be read of an archive unpacks to far too much.

    Such a total may take long, or fill the disk. `sizes` are in bytes.
    """
    total = 0
    limit = largest_total(archive.stat().st_size)
    for size in sizes:
        total += size
        if total > limit:
            refuse_bomb(archive)


def largest_total(archive_size: int) -> int:
    """Return the number of bytes that an archive of a size may unpack to."""
    return max(HARMLESS_SIZE, LARGEST_RATIO * archive_size)


def refuse_bomb(archive: Path) -> NoReturn:
    """Raise `UserError` for an archive that unpacks to far too much."""
    raise UserError(
        f"{archive}: unpacks to more than {LARGEST_RATIO} times its size; don't trust it"
    )
