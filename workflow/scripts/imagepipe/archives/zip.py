"""Reading .zip archives, with Python's zipfile."""

import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

from imagepipe.archives.chunk import Chunk, Listing, Wanted, slices
from imagepipe.archives.safety import check_names, check_total, refuse_special
from imagepipe.errors import UserError
from imagepipe.files import nfc

# With any other method, zipfile sets no limit to what one read of a file unpacks to.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
PIECE_SIZE = 1 << 20
# The record at the end of an archive, and the longest comment behind it.
END_RECORD = b"PK\5\6"
LONGEST_END = 22 + (1 << 16)


class ZipChunk(Chunk):
    """Files of a .zip archive."""

    def contents(self) -> Iterator[bytes]:
        return map(b"".join, self.pieces())

    def pieces(self) -> Iterator[Iterator[bytes]]:
        with zipfile.ZipFile(self.archive) as file:
            member_of = {name_of(member): member for member in file.infolist()}
            for name in self.names:
                yield _pieces(file, member_of[name])


class ZipListing(Listing):
    """The files in a .zip archive. Links and devices are refused only if they are to be read."""

    def __init__(self, archive: Path) -> None:
        refuse_split(archive)
        with zipfile.ZipFile(archive) as file:
            members = file.infolist()
        all_names = list(map(name_of, members))
        check_names(archive, all_names)
        self.members = [member for member in members if not member.is_dir()]
        names = [n for n, member in zip(all_names, members, strict=True) if not member.is_dir()]
        folders = [n for n, member in zip(all_names, members, strict=True) if member.is_dir()]
        super().__init__(archive, names, [member.file_size for member in self.members], folders)

    def chunks(self, wanted: Wanted) -> Iterator[ZipChunk]:
        named = zip(self.names, self.members, strict=True)
        kept = [(name, member) for name, member in named if wanted(name)]
        check_total(self.archive, (member.file_size for _, member in kept))
        for name, member in kept:
            file_type = (member.external_attr >> 16) & 0o170000
            if file_type not in (0, stat.S_IFREG, stat.S_IFDIR):
                refuse_special(self.archive, name)
            check_method(self.archive, member)
        for some in (kept[rows] for rows in slices(len(kept))):
            yield ZipChunk(
                self.archive,
                [name for name, _ in some],
                [member.file_size for _, member in some],
                [member.CRC for _, member in some],
            )


def name_of(member: zipfile.ZipInfo) -> str:
    """Return a member's name. macOS writes UTF-8 without the flag that says so."""
    name = member.filename
    if name.isascii():
        return name
    if not member.flag_bits & 0x800:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = member.filename
    return nfc(name)


def check_method(archive: Path, member: zipfile.ZipInfo) -> None:
    """Raise `UserError` for a file that cannot be read: encrypted, or of another compression."""
    if member.flag_bits & 0x1:
        raise UserError(f"{archive}: is encrypted; pack it again without a password")
    if member.compress_type not in METHODS:
        raise UserError(
            f"{archive}: uses a compression that is not supported (method "
            f"{member.compress_type}); pack it again with Deflate"
        )


def refuse_split(archive: Path) -> None:
    """Raise `UserError` for the last part of an archive that is split into .z01, .z02 and so on."""
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - LONGEST_END))
        end = file.read()
    position = end.rfind(END_RECORD)
    if position >= 0 and len(end) >= position + 6:
        (disk,) = struct.unpack_from("<H", end, position + 4)
        if disk not in (0, 0xFFFF):
            raise UserError(split_message(archive))


def split_message(archive: Path) -> str:
    """Return the message for an archive that `zip` has split."""
    whole = archive.with_name(f"{archive.stem}-whole.zip").name
    return (
        f"{archive}: is one part of a split archive (.z01, .z02, …), which cannot be read; join "
        f"the parts with `zip -s 0 {archive.stem}.zip --out {whole}`, and name {whole} in the "
        "dataset file"
    )


def _pieces(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a file's content, no more of it than the archive says."""
    with file.open(member) as content:
        while piece := content.read(PIECE_SIZE):
            yield piece
