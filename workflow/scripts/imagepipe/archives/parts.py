"""What the readers of archives share: a part to be read, and what is refused before reading it.

Archives are not trusted: names and types are checked before anything is unpacked, and no name that
leads out of a folder gets any further.
"""

import errno
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol

from imagepipe.errors import UserError, one_line, quoted
from imagepipe.texts import Texts, first_repeated

# No image or table of labels of a competition comes near it; a member that does is refused before
# it fills the memory.
LARGEST_MEMBER = 1 << 30
# Images are compressed already, and tables rarely shrink to a twentieth.
LARGEST_RATIO = 200
# Below this, what an archive unpacks to does no harm, whatever the ratio.
HARMLESS_SIZE = 1 << 28

Wanted = Callable[[str], bool]

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")


class Part(Protocol):
    """Some files of an archive or a folder, in its own order."""

    @property
    def archive(self) -> Path:
        """The archive, for messages."""

    @property
    def names(self) -> Texts:
        """The files' names, relative, with "/" between folders."""

    @property
    def sizes(self) -> Iterable[int | None]:
        """The files' sizes in bytes, where they are known before they are read."""

    @property
    def checksums(self) -> Iterable[int | None]:
        """The CRC-32 of each file, where the archive has it."""

    def read(self) -> Iterator[bytes]:
        """Yield the files' contents. Raises `UserError` if the archive is damaged."""


@contextmanager
def damage_in_one_line(archive: Path) -> Iterator[None]:
    """Turn whatever a library raises for a damaged archive into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except MemoryError:  # which a few bytes of a header can ask for
        raise UserError(
            f"{archive}: takes more memory to read than there is; close other programs, or get the "
            "archive again"
        ) from None
    except Exception as error:  # whatever bytes that are not trusted can bring about
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        detail = one_line(str(error)) or type(error).__name__
        raise UserError(
            f"{archive}: damaged, cut short or encrypted ({detail}); get the archive again"
        ) from None


def check_names(archive: Path, names: Callable[[], Iterable[str]], count: int) -> None:
    """Raise `UserError` for a name that points out of the folder, or that is there twice.

    `names` is called for the `count` names, more than once.
    """
    for name in names():
        if not _PLAIN_NAME.fullmatch(name):
            _check_odd_name(archive, name)
    position = first_repeated(names, count)
    if position is not None:
        name = next(islice(names(), position, None))
        raise UserError(f"{archive}: member {quoted(name)} is there twice; remove one")


def _check_odd_name(archive: Path, name: str) -> None:
    member = f"{archive}: member {quoted(name)}"
    path = PurePosixPath(name)
    windows = PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise UserError(f"{member} points outside of the folder; don't trust it")
    if any("\ud800" <= c <= "\udfff" for c in name):  # which Python has for bytes it cannot decode
        raise UserError(f"{member} has a name that is not UTF-8; pack it again with UTF-8 names")
    if not name.isprintable():
        raise UserError(f"{member} has an unprintable name; don't trust it")
    if "\\" in name:
        # A folder's end on Windows, and a part of the name elsewhere.
        raise UserError(f"{member} has a backslash in its name; pack it again with / for folders")


def refuse_special(archive: Path, name: str) -> None:
    """Raise `UserError` for a member that is neither a file nor a folder."""
    raise UserError(f"{archive}: member {quoted(name)} is a link or a device; don't trust it")


def check_sizes(archive: Path, members: Iterable[tuple[str, int]]) -> None:
    """Raise `UserError` if one member, or all of them together, unpack to far too much."""
    total = 0
    limit = largest_total(archive)
    for name, size in members:
        # Less than nothing would let a reader go back, and round and round.
        if not 0 <= size <= LARGEST_MEMBER:
            raise UserError(
                f"{archive}: member {quoted(name)} unpacks to {size:,} bytes; don't trust it"
            )
        total += size
        if total > limit:
            refuse_bomb(archive)


def largest_total(archive: Path) -> int:
    """Return the number of bytes to which an archive may unpack."""
    return max(HARMLESS_SIZE, LARGEST_RATIO * archive.stat().st_size)


def refuse_bomb(archive: Path) -> None:
    """Raise `UserError` for an archive that unpacks to far too much."""
    raise UserError(
        f"{archive}: unpacks to more than {LARGEST_RATIO} times its size; don't trust it"
    )
