"""Reading .tar archives, compressed or not, with Python's tarfile."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from imagepipe.archives.chunk import Chunk, Wanted
from imagepipe.archives.safety import (
    check_names,
    check_sizes,
    largest_total,
    refuse_bomb,
    refuse_special,
)
from imagepipe.errors import UserError

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


class TarChunk(Chunk):
    """All wanted files of a .tar archive, which can only be read from its beginning."""

    def contents(self) -> Iterator[bytes]:
        upcoming = iter(self.names)
        name = next(upcoming, None)
        for file, member in _members(self.archive):
            if member.isfile() and member.name == name:
                name = next(upcoming, None)
                content = file.extractfile(member)
                assert content is not None  # as it is a file
                yield content.read()


def tar_chunk(archive: Path, wanted: Wanted) -> TarChunk:
    """Return the wanted files of a .tar archive, after checks of all its members."""
    files: list[tuple[str, int]] = []

    def members() -> Iterator[tuple[str, int]]:
        for _, member in _members(archive):
            if not (member.isfile() or member.isdir()):
                refuse_special(archive, member.name)
            yield member.name, member.size
            if member.isfile():
                files.append((member.name, member.size))

    # While the archive is read, so that a member that is too large is refused before it is read.
    check_sizes(archive, members())
    check_names(archive, (name for name, _ in files))
    kept = [(name, size) for name, size in files if wanted(name)]
    names, sizes = [name for name, _ in kept], [size for _, size in kept]
    return TarChunk(archive, names, sizes, [None] * len(kept))


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
        with tarfile.open(archive, encoding="utf-8", tarinfo=CheckedHeader) as file:
            for member in file:
                yield file, member
                file.members = []  # type: ignore[attr-defined]  # or it would keep all of them
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
