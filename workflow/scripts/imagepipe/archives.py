"""Reading the members of .7z, .zip and .tar archives that are not trusted.

Each wanted member's bytes are handed to a function, or written under one of the names that the
caller asked for. No name that leads out of a folder gets that far.
"""

import errno
import io
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

import py7zr
from py7zr.exceptions import ArchiveError, PasswordRequired, UnsupportedCompressionMethodError
from py7zr.io import Py7zIO, WriterFactory

from imagepipe.errors import UserError
from imagepipe.files import written_whole
from imagepipe.progress import counter, progress

SUFFIXES = (".7z", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
# No image or table of labels of a competition comes near it; a member that does is refused before
# it fills the memory.
LARGEST_MEMBER = 1 << 30

Wanted = Callable[[PurePosixPath], bool]
Receive = Callable[[PurePosixPath, bytes], None]

_DAMAGED = (
    ArchiveError,
    EOFError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    LookupError,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
)


def is_archive(name: str) -> bool:
    """Tell by its name whether a file is an archive that can be read here."""
    return name.lower().endswith(SUFFIXES)


def read_members(archive: Path, wanted: Wanted, receive: Receive) -> None:
    """Call `receive(name, content)` for each file in an archive whose name is `wanted`.

    `receive` may be called from several threads. Raises `UserError` if the archive is missing,
    damaged, cut short or encrypted, and if any member is a link or a device or has a name that
    points out of the folder.
    """
    name = archive.name.lower()
    read = _read_7z if name.endswith(".7z") else _read_zip if name.endswith(".zip") else _read_tar
    with _damage_in_one_line(archive):
        read(archive, wanted, receive)


def copy_from_zip(archive: Path, names: Collection[str], folder: Path) -> None:
    """Write those files of a .zip archive that have one of the `names` into `folder`.

    They may be larger than the memory. Raises `UserError` as `read_members` does.
    """
    with _damage_in_one_line(archive), zipfile.ZipFile(archive) as file:
        for path, member in _zip_members(archive, file, lambda path: path.name in names):
            with (
                written_whole(folder / path.name) as temporary,
                file.open(member) as source,
                temporary.open("wb") as target,
            ):
                shutil.copyfileobj(source, target, 1 << 20)


@contextmanager
def _damage_in_one_line(archive: Path) -> Iterator[None]:
    """Turn whatever the libraries raise for a damaged archive into a `UserError`."""
    if not archive.is_file():
        raise UserError(f"{archive}: the archive does not exist; get it, or correct its name")
    try:
        yield
    except PasswordRequired:
        raise UserError(f"{archive}: is encrypted; pack it again without a password") from None
    except UnsupportedCompressionMethodError as error:
        raise UserError(f"{archive}: uses a compression that is not supported ({error})") from None
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        detail = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{archive}: damaged, cut short or encrypted ({detail}); get the archive again"
        ) from None


def safe_name(archive: Path, name: str) -> PurePosixPath:
    """Return a member's name as a relative path, or raise `UserError` if it points elsewhere."""
    path = PurePosixPath(name)
    windows = PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise UserError(f"{archive}: member {name!r} points outside of the folder; don't trust it")
    if "\0" in name or not name.isprintable():
        raise UserError(f"{archive}: member {name!r} has an unprintable name; don't trust it")
    return path


def _refuse_special(archive: Path, name: str) -> None:
    raise UserError(f"{archive}: member {name!r} is a link or a device; don't trust it")


def _check_size(archive: Path, name: str, size: int) -> None:
    if size > LARGEST_MEMBER:
        raise UserError(f"{archive}: member {name!r} unpacks to {size:,} bytes; don't trust it")


def _zip_members(
    archive: Path, file: zipfile.ZipFile, wanted: Wanted
) -> list[tuple[PurePosixPath, zipfile.ZipInfo]]:
    """Return the files that are wanted, when all names and types are found to be harmless."""
    members: list[tuple[PurePosixPath, zipfile.ZipInfo]] = []
    for member in file.infolist():
        path = safe_name(archive, member.filename)
        file_type = (member.external_attr >> 16) & 0o170000
        if file_type not in (0, stat.S_IFREG, stat.S_IFDIR):
            _refuse_special(archive, member.filename)
        if not member.is_dir() and wanted(path):
            members.append((path, member))
    return members


def _read_zip(archive: Path, wanted: Wanted, receive: Receive) -> None:
    with zipfile.ZipFile(archive) as file:
        members = _zip_members(archive, file, wanted)
        for _, member in members:
            _check_size(archive, member.filename, member.file_size)
        for path, member in progress(
            members, total=len(members), description=f"unpack {archive.name}", unit="files"
        ):
            receive(path, file.read(member))


def _read_tar(archive: Path, wanted: Wanted, receive: Receive) -> None:
    with tarfile.open(archive, encoding="utf-8") as file:
        # A tar archive has no table of contents, so the number of its members isn't known.
        for member in progress(
            file, total=None, description=f"unpack {archive.name}", unit="files"
        ):
            path = safe_name(archive, member.name)
            if not (member.isfile() or member.isdir()):
                _refuse_special(archive, member.name)
            if member.isfile() and wanted(path):
                _check_size(archive, member.name, member.size)
                content = file.extractfile(member)
                assert content is not None  # as it is a file
                receive(path, content.read())
        # tarfile takes a damaged header for the end, and never comes to the compression's checksum.
        stream = file.fileobj
        assert stream is not None  # as it was opened to read
        stream.seek(file.offset)
        if stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise EOFError("there is no end mark")
        while stream.read(1 << 20):
            pass


def _read_7z(archive: Path, wanted: Wanted, receive: Receive) -> None:
    with py7zr.SevenZipFile(archive) as file:
        if file.password_protected:
            raise UserError(f"{archive}: is encrypted; pack it again without a password")
        waiting: set[str] = set()
        names: set[str] = set()
        for member in file.list():
            path = safe_name(archive, member.filename)
            if member.is_file and member.filename in names:
                raise UserError(f"{archive}: member {member.filename!r} is there twice; remove one")
            names.add(member.filename)
            if not (member.is_file or member.is_directory):
                _refuse_special(archive, member.filename)
            if member.is_file and wanted(path):
                _check_size(archive, member.filename, member.uncompressed)
                waiting.add(member.filename)
        if not waiting:
            return

        with counter(total=len(waiting), description=f"unpack {archive.name}", unit="files") as bar:

            def received(name: str, content: bytes) -> None:
                waiting.discard(name)
                receive(PurePosixPath(name), content)
                bar.advance(1)

            file.extract(targets=list(waiting), factory=_MemberWriters(received))
        # The library has nothing to decompress for an empty file, and opens no writer for it.
        for name in sorted(waiting):
            receive(PurePosixPath(name), b"")


class _MemberWriter(Py7zIO):
    """Collects the bytes of one member, and hands them on when the library closes it."""

    def __init__(self, name: str, received: Callable[[str, bytes], None]) -> None:
        self.name = name
        self.received = received
        self.buffer = io.BytesIO()

    def write(self, s: bytes | bytearray) -> int:
        if self.buffer.tell() + len(s) > LARGEST_MEMBER:
            raise UserError(f"member {self.name!r} unpacks to more than it says; don't trust it")
        return self.buffer.write(s)

    def read(self, size: int | None = None) -> bytes:
        return self.buffer.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.buffer.seek(offset, whence)

    def flush(self) -> None:
        self.buffer.flush()

    def size(self) -> int:
        return self.buffer.getbuffer().nbytes

    def close(self) -> None:
        self.received(self.name, self.buffer.getvalue())


class _MemberWriters(WriterFactory):
    def __init__(self, received: Callable[[str, bytes], None]) -> None:
        self.received = received

    def create(self, filename: str) -> Py7zIO:
        return _MemberWriter(filename, self.received)
