"""Reading .tar archives, compressed or not, with Python's tarfile."""

import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from pathlib import Path

from imagepipe.archives.chunk import Chunk, Listing, Wanted, slices
from imagepipe.archives.safety import (
    check_names,
    check_total,
    largest_total,
    refuse_bomb,
    refuse_special,
)
from imagepipe.errors import UserError, quoted
from imagepipe.files import nfc

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD_SUFFIXES = (".tar.zst", ".tzst")
PIECE_SIZE = 1 << 20
# tarfile reads these headers whole, at the length that they claim: long names, and notes.
LONG_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
LARGEST_HEADER = 1 << 16


@dataclass(frozen=True)
class TarChunk(Chunk):
    """All wanted files of a .tar archive, which can only be read from its beginning.

    The content of each is that of a member in `sources`: its own, or the one that it is a hard link
    to. They are in the order of the archive.
    """

    sources: list[str]

    def contents(self) -> Iterator[bytes]:
        return map(b"".join, self.pieces())

    def pieces(self) -> Iterator[Iterator[bytes]]:
        upcoming = iter(self.sources)
        source = next(upcoming, None)
        for file, member in _members(self.archive):
            if not member.isfile() or source is None or name_of(member.name) != source:
                continue
            content = file.extractfile(member)
            assert content is not None  # as it is a file
            name = source
            while source == name:
                yield iter(partial(content.read, PIECE_SIZE), b"")
                source = next(upcoming, None)
                if source == name:
                    content.seek(0)


@dataclass(frozen=True)
class PlainTarChunk(Chunk):
    """Files of a .tar archive that is not compressed, at `offsets` in bytes."""

    offsets: list[int]

    def contents(self) -> Iterator[bytes]:
        return map(b"".join, self.pieces())

    def pieces(self) -> Iterator[Iterator[bytes]]:
        with self.archive.open("rb") as file:
            for offset, size in zip(self.offsets, self.sizes, strict=True):
                assert size is not None  # as the headers have it
                file.seek(offset)
                lengths = (min(PIECE_SIZE, size - start) for start in range(0, size, PIECE_SIZE))
                yield map(file.read, lengths)


class TarListing(Listing):
    """The files in a .tar archive, each hard link directly behind the file that it leads to.

    Links that are not followed, and devices, are refused only if they are to be read.
    """

    def __init__(self, archive: Path) -> None:
        size_of: dict[str, int] = {}
        offset_of: dict[str, int] = {}
        linked: dict[str, list[str]] = {}
        folders: list[str] = []
        special: list[str] = []
        self.is_plain = False
        source_of: dict[str, str] = {}

        def sizes() -> Iterator[int]:
            for file, member in _members(archive):
                self.is_plain = isinstance(file.fileobj, BufferedReader)
                name = name_of(member.name)
                if member.islnk():
                    # A link before its file, or to a file elsewhere, is not followed.
                    source = name_of(member.linkname)
                    source = source_of.get(source, source)
                    if source not in size_of:
                        special.append(name)
                        continue
                    if name in size_of or name in source_of:
                        check_names(archive, [name, name])
                    source_of[name] = source
                    linked.setdefault(source, []).append(name)
                    continue
                yield member.size
                if not (member.isfile() or member.isdir()):
                    special.append(name)
                if member.isdir():
                    folders.append(name)
                if member.isfile():
                    if name in size_of or name in source_of:
                        check_names(archive, [name, name])
                    size_of[name], offset_of[name] = member.size, member.offset_data

        # While the archive is read, so that a member that is too large is refused before it is
        # read.
        check_total(archive, sizes())
        files = [
            (name, size, source)
            for source, size in size_of.items()
            for name in (source, *linked.get(source, ()))
        ]
        files += [(name, 0, "") for name in special]
        check_names(archive, (name for name, _, _ in files))
        super().__init__(archive, [file[0] for file in files], [file[1] for file in files], folders)
        self.sources, self.offset_of = [file[2] for file in files], offset_of
        self.special = set(special)

    def chunks(self, wanted: Wanted) -> Iterator[TarChunk | PlainTarChunk]:
        files = zip(self.names, self.sizes, self.sources, strict=True)
        kept = [file for file in files if wanted(file[0])]
        for name, _, _ in kept:
            if name in self.special:
                refuse_special(self.archive, name)
        check_total(self.archive, (size for _, size, _ in kept))
        names, sizes = [file[0] for file in kept], [file[1] for file in kept]
        sources = [file[2] for file in kept]
        if not self.is_plain:
            yield TarChunk(self.archive, names, sizes, [None] * len(kept), sources)
            return
        offsets = [self.offset_of[source] for source in sources]
        for rows in slices(len(kept)):
            unknown = [None] * len(names[rows])
            yield PlainTarChunk(self.archive, names[rows], sizes[rows], unknown, offsets[rows])


def name_of(name: str) -> str:
    """Return a member's name as others would write it: without "./" before it, and in NFC."""
    return nfc(name[2:] if name.startswith("./") and len(name) > 2 else name)


class SparseFileError(Exception):
    """A file of a .tar archive that is stored without its holes, and a map of them."""


class CheckedHeader(tarfile.TarInfo):
    """A header of a .tar archive, checked before tarfile acts on it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "CheckedHeader":
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0:
            raise ValueError("a member of a negative size")
        if header.type in LONG_HEADERS and header.size > LARGEST_HEADER:
            raise ValueError(f"a header of {header.size:,} bytes")
        return header

    def refuse(self, *_: object) -> None:
        raise SparseFileError

    # tarfile's ways of reading a sparse file's map.
    _proc_sparse = _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = refuse


def _members(archive: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yield the opened archive and each of its members, and then check how the archive ends."""
    try:
        with ExitStack() as stack:
            unpacked = None
            if archive.name.lower().endswith(ZSTD_SUFFIXES):
                unpacked = stack.enter_context(zstd.open(archive))
            file = stack.enter_context(
                tarfile.open(archive, fileobj=unpacked, encoding="utf-8", tarinfo=CheckedHeader)
            )
            for member in file:
                if member.size < 0:  # from a pax header, which tarfile does not check
                    raise UserError(
                        f"{archive}: member {quoted(member.name)} unpacks to {member.size:,} "
                        "bytes; don't trust it"
                    )
                yield file, member
                file.members = []  # type: ignore[attr-defined]  # or it would keep all of them
            # tarfile takes a damaged header for the end, and never comes to the compression's
            # checksum.
            stream = file.fileobj
            assert stream is not None  # as it was opened to read
            stream.seek(file.offset)
            if stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
                raise EOFError("there is no end mark")
            limit = largest_total(archive.stat().st_size)
            while stream.read(PIECE_SIZE):
                if stream.tell() > limit:
                    refuse_bomb(archive)
    except SparseFileError:
        raise UserError(f"{archive}: holds a sparse file; pack it again without --sparse") from None
