"""Reading the files of archives and folders that are not trusted.

What is to be read is divided into parts, each of which can be read in another process.
"""

import stat
import tarfile
import zipfile
import zlib
from array import array
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import compress, islice, repeat
from pathlib import Path, PurePosixPath

from imagepipe.archives.parts import (
    LARGEST_MEMBER,
    Part,
    Wanted,
    check_names,
    check_sizes,
    damage_in_one_line,
    largest_total,
    refuse_bomb,
    refuse_special,
)
from imagepipe.archives.seven_zip import seven_zip_parts
from imagepipe.errors import UserError, quoted
from imagepipe.files import atomic_write
from imagepipe.texts import Texts

SUFFIXES = (".7z", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
# Files of a part, where the archive itself does not say how it can be divided.
FILES_PER_PART = 10_000
PIECE_SIZE = 1 << 20
# With others, zipfile unpacks all that it has read of a file, whatever that comes to.
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# The headers of a .tar archive that are as long as they say, and read whole: long names, and what
# else tar notes.
LONG_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
LARGEST_HEADER = 1 << 16


def is_archive(name: str) -> bool:
    """Tell by its name whether a file is an archive that can be read here."""
    return name.lower().endswith(SUFFIXES)


def parts_of(source: Path, wanted: Wanted) -> list[Part]:
    """Return the files of an archive, or of a folder, whose name is `wanted`, in parts.

    Raises `UserError` if the source is missing, damaged or encrypted, if any of its members is a
    link or a device, has a name that points out of the folder or is there twice, and if it would
    unpack to far more than its own size.
    """
    if source.is_dir():
        return list(_folder_parts(source, wanted))
    if not source.is_file():
        raise UserError(f"{source}: the archive does not exist; get it, or correct its name")
    name = source.name.lower()
    with damage_in_one_line(source):
        if name.endswith(".7z"):
            return list(seven_zip_parts(source, wanted))
        if name.endswith(".zip"):
            return list(_zip_parts(source, wanted))
        return list(_tar_parts(source, wanted))


def read_members(archive: Path, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of each file in an archive whose name is `wanted`.

    Raises `UserError` as `parts_of` does, and if the archive is found to be damaged on the way.
    """
    for part in parts_of(archive, wanted):
        for name, content, _ in checked(part):
            yield name, content


def copy_from_zip(archive: Path, names: Collection[str], folder: Path) -> None:
    """Write those files of a .zip archive that have one of the `names` into `folder`.

    They may be larger than the memory. Raises `UserError` as `parts_of` does, and for a name that
    is there twice, in whatever folders.
    """
    if not archive.is_file():
        raise UserError(f"{archive}: the archive does not exist; get it, or correct its name")
    copied: set[str] = set()
    with damage_in_one_line(archive), zipfile.ZipFile(archive) as file:
        for member in _zip_members(archive, file):
            name = PurePosixPath(member.filename).name
            if name in copied:
                raise UserError(f"{archive}: two files have the name {name!r}; remove one")
            if name in names:
                copied.add(name)
                with atomic_write(folder / name) as temporary, temporary.open("wb") as target:
                    target.writelines(_zip_pieces(file, member))


@dataclass(frozen=True)
class ZipPart:
    """Files of a .zip archive."""

    archive: Path
    names: Texts
    sizes: "array[int]"
    checksums: "array[int]"

    def read(self) -> Iterator[bytes]:
        with damage_in_one_line(self.archive), zipfile.ZipFile(self.archive) as file:
            for name in self.names:
                yield b"".join(_zip_pieces(file, file.getinfo(name)))


def _zip_pieces(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a file's content, of which no more is unpacked than the archive says."""
    with file.open(member) as content:
        while piece := content.read(PIECE_SIZE):
            yield piece


def _zip_members(archive: Path, file: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files of an archive, when all names and types are found to be harmless."""
    members = file.infolist()
    check_names(archive, lambda: (member.filename for member in members), len(members))
    check_sizes(archive, ((member.filename, member.file_size) for member in members))
    for member in members:
        if member.flag_bits & 0x1:
            raise UserError(f"{archive}: is encrypted; pack it again without a password")
        if member.compress_type not in ZIP_METHODS:
            raise UserError(
                f"{archive}: uses a compression that is not supported (method "
                f"{member.compress_type}); pack it again with Deflate"
            )
        says_utf8 = member.flag_bits & 0x800
        if not says_utf8 and not member.orig_filename.isascii():
            raise UserError(
                f"{archive}: member {quoted(member.filename)} has a name that is not UTF-8; "
                "pack it again with UTF-8 names"
            )
        file_type = (member.external_attr >> 16) & 0o170000
        if file_type not in (0, stat.S_IFREG, stat.S_IFDIR):
            refuse_special(archive, member.filename)
    return [member for member in members if not member.is_dir()]


def _zip_parts(archive: Path, wanted: Wanted) -> Iterator[ZipPart]:
    with zipfile.ZipFile(archive) as file:
        members = [member for member in _zip_members(archive, file) if wanted(member.filename)]
    for start in range(0, len(members), FILES_PER_PART):
        some = members[start : start + FILES_PER_PART]
        yield ZipPart(
            archive,
            Texts(member.filename for member in some),
            array("I", (member.file_size for member in some)),
            array("I", (member.CRC for member in some)),
        )


@dataclass(frozen=True)
class TarPart:
    """Files of a .tar archive, which can only be read from its beginning."""

    archive: Path
    names: Texts
    sizes: "array[int]"

    @property
    def checksums(self) -> Iterable[int | None]:
        return repeat(None, len(self.names))

    def read(self) -> Iterator[bytes]:
        upcoming = iter(self.names)
        name = next(upcoming, None)
        with damage_in_one_line(self.archive):
            for file, member in _tar_members(self.archive):
                if member.isfile() and member.name == name:
                    name = next(upcoming, None)
                    content = file.extractfile(member)
                    assert content is not None  # as it is a file
                    yield content.read()


def _tar_parts(archive: Path, wanted: Wanted) -> Iterator[TarPart]:
    # Of all files: what is not wanted is checked, too.
    names = Texts()
    sizes = array("I")

    def files() -> Iterator[tuple[str, int]]:
        for _, member in _tar_members(archive):
            if not (member.isfile() or member.isdir()):
                refuse_special(archive, member.name)
            yield member.name, member.size
            if member.isfile():
                names.append(member.name)
                sizes.append(member.size)

    # As it is read: what comes after a member that is too large is not waited for.
    check_sizes(archive, files())
    check_names(archive, lambda: names, len(names))
    kept_sizes = array("I", compress(sizes, map(wanted, names)))
    yield TarPart(archive, Texts(filter(wanted, names)), kept_sizes)


class SparseFileError(Exception):
    """A file of a .tar archive whose holes are left out, by a map that would be followed."""


class TarHeader(tarfile.TarInfo):
    """A header of a .tar archive that is refused before tarfile does what it says."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "TarHeader":
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0:
            raise ValueError("a member of a negative size")
        if header.type in LONG_HEADERS and header.size > LARGEST_HEADER:
            raise ValueError(f"a header of {header.size:,} bytes")
        return header

    def refuse(self, *_: object) -> None:
        raise SparseFileError

    # tarfile's ways of reading the map.
    _proc_sparse = _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = refuse


def _tar_members(archive: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    try:
        with tarfile.open(archive, encoding="utf-8", tarinfo=TarHeader) as file:
            for member in file:
                yield file, member
                # It would keep an object of each.
                file.members = []  # type: ignore[attr-defined]
            # tarfile takes a damaged header for the end, and never comes to the compression's
            # checksum.
            stream = file.fileobj
            assert stream is not None  # as it was opened to read
            stream.seek(file.offset)
            if stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
                raise EOFError("there is no end mark")
            limit = largest_total(archive)
            while stream.read(PIECE_SIZE):
                if stream.tell() > limit:
                    refuse_bomb(archive)
    except SparseFileError:
        raise UserError(f"{archive}: holds a sparse file; pack it again without --sparse") from None


@dataclass(frozen=True)
class FolderPart:
    """Files of a folder."""

    archive: Path
    names: Texts
    sizes: "array[int]"

    @property
    def checksums(self) -> Iterable[int | None]:
        return repeat(None, len(self.names))

    def read(self) -> Iterator[bytes]:
        for name, size in zip(self.names, self.sizes, strict=True):
            file = self.archive / name
            try:
                content = file.read_bytes()
            except FileNotFoundError:
                content = None
            if content is None or len(content) != size:
                raise UserError(f"{file}: has changed while it was read; run again")
            yield content


def _folder_parts(folder: Path, wanted: Wanted) -> Iterator[FolderPart]:
    # Links are followed: this is the user's own folder, not a stranger's archive.
    found = (path for path in folder.rglob("*") if path.is_file())
    names = Texts(sorted(path.relative_to(folder).as_posix() for path in found))
    check_names(folder, lambda: names, len(names))
    kept = filter(wanted, names)
    while some := list(islice(kept, FILES_PER_PART)):
        part = FolderPart(folder, Texts(some), array("I"))
        for name in some:
            size = (folder / name).stat().st_size
            if size > LARGEST_MEMBER:
                raise UserError(
                    f"{folder / name}: has {size:,} bytes; it is no image, so remove it"
                )
            part.sizes.append(size)
        yield part


def checked(part: Part) -> Iterator[tuple[str, bytes, int]]:
    """Yield (name, content, CRC-32) of a part's files.

    Raises `UserError` for a file that has not the size or the checksum that the archive says.
    """
    with damage_in_one_line(part.archive):
        files = zip(part.names, part.sizes, part.checksums, part.read(), strict=True)
        for name, size, checksum, content in files:
            found = zlib.crc32(content)
            if size not in (None, len(content)) or checksum not in (None, found):
                raise ValueError(f"member {name!r} is not what the archive says")
            yield name, content, found
