"""Reading .zip archives, with Python's zipfile."""

import stat
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from imagepipe.archives.chunk import FILES_PER_CHUNK, Chunk, Wanted
from imagepipe.archives.safety import (
    check_names,
    check_sizes,
    damage_in_one_line,
    refuse_special,
)
from imagepipe.errors import UserError, quoted
from imagepipe.files import atomic_write

# With any other method, zipfile sets no limit to what one read of a file unpacks to.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
PIECE_SIZE = 1 << 20


class ZipChunk(Chunk):
    """Files of a .zip archive."""

    def contents(self) -> Iterator[bytes]:
        with zipfile.ZipFile(self.archive) as file:
            for name in self.names:
                yield b"".join(_pieces(file, file.getinfo(name)))


def zip_chunks(archive: Path, wanted: Wanted) -> Iterator[ZipChunk]:
    """Yield the wanted files of a .zip archive."""
    with zipfile.ZipFile(archive) as file:
        members = [member for member in _files(archive, file) if wanted(member.filename)]
    for start in range(0, len(members), FILES_PER_CHUNK):
        some = members[start : start + FILES_PER_CHUNK]
        yield ZipChunk(
            archive,
            [member.filename for member in some],
            [member.file_size for member in some],
            [member.CRC for member in some],
        )


def copy_from_zip(archive: Path, names: Collection[str], folder: Path) -> None:
    """Copy the files of a .zip archive that have one of the `names`, in any folder of it.

    They go into `folder`, and may be larger than the memory. Raises `UserError` for an archive that
    cannot be read or trusted, and for two files of the same name.
    """
    if not archive.is_file():
        raise UserError(f"{archive}: the archive does not exist; get it, or correct its name")
    copied: set[str] = set()
    with damage_in_one_line(archive), zipfile.ZipFile(archive) as file:
        for member in _files(archive, file):
            name = PurePosixPath(member.filename).name
            if name in copied:
                raise UserError(f"{archive}: two files have the name {name!r}; remove one")
            if name in names:
                copied.add(name)
                with atomic_write(folder / name) as temporary, temporary.open("wb") as target:
                    target.writelines(_pieces(file, member))


def _files(archive: Path, file: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files of an archive, after checks of all its members."""
    members = file.infolist()
    check_names(archive, (member.filename for member in members))
    check_sizes(archive, ((member.filename, member.file_size) for member in members))
    for member in members:
        if member.flag_bits & 0x1:
            raise UserError(f"{archive}: is encrypted; pack it again without a password")
        if member.compress_type not in METHODS:
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


def _pieces(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a file's content, no more of it than the archive says."""
    with file.open(member) as content:
        while piece := content.read(PIECE_SIZE):
            yield piece
