"""Archives that no honest tool writes: odd names, links, devices, and tables that lie."""

import gzip
import io
import lzma
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import py7zr
from py7zr.helpers import ArchiveTimestamp

from builders import MEMBER_TIME

# In a 7z archive's attributes: the upper half is Unix's file mode.
HAS_UNIX_MODE = 0x8000
TAR_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


@dataclass(frozen=True)
class Member:
    """A file of an archive, under whatever name and of whatever type (`stat.S_IF…`)."""

    name: str
    content: bytes = b"content"
    file_type: int = stat.S_IFREG


def write_odd(path: Path, members: Sequence[Member]) -> None:
    """Write a .7z, .zip or .tar.gz archive of any members, in this order."""
    write = {".7z": write_odd_7z, ".zip": write_odd_zip, ".gz": write_odd_tar}
    write[path.suffix](path, members)


def write_odd_7z(
    path: Path,
    members: Sequence[Member],
    change: Callable[[py7zr.SevenZipFile], object] = lambda archive: None,
) -> None:
    """Write a .7z archive; `change` is called before its table of contents is written."""
    with py7zr.SevenZipFile(path, "w", filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}]) as archive:
        archive.set_encoded_header_mode(False)
        for number, member in enumerate(members):
            archive.writestr(member.content, f"{number}.txt")
            # The name and the type that py7zr would refuse.
            entry = archive.header.files_info.files[-1]
            entry["filename"] = member.name
            entry["attributes"] = HAS_UNIX_MODE | (member.file_type | 0o644) << 16
            entry["lastwritetime"] = ArchiveTimestamp(MEMBER_TIME)
        change(archive)


def write_odd_zip(path: Path, members: Sequence[Member]) -> None:
    """Write a .zip archive."""
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate name", UserWarning)
        for member in members:
            info = zipfile.ZipInfo(member.name)
            info.external_attr = (member.file_type | 0o644) << 16
            archive.writestr(info, member.content, zipfile.ZIP_DEFLATED)


def write_odd_tar(path: Path, members: Sequence[Member], encoding: str = "utf-8") -> None:
    """Write a .tar.gz archive, with the names in an encoding."""
    content = io.BytesIO()
    with tarfile.open(
        fileobj=content, mode="w", encoding=encoding, format=tarfile.GNU_FORMAT
    ) as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type = TAR_TYPES[member.file_type]
            info.linkname = "/etc/passwd" if info.issym() else ""
            info.size = len(member.content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(member.content))
    path.write_bytes(gzip.compress(content.getvalue(), mtime=0))


def add_tar_header(path: Path, info: tarfile.TarInfo, content: bytes = b"") -> None:
    """Put a member of any kind at the beginning of a .tar.gz archive."""
    padding = bytes(-len(content) % tarfile.BLOCKSIZE)
    header = info.tobuf(tarfile.PAX_FORMAT)
    path.write_bytes(gzip.compress(header + content + padding + gzip.decompress(path.read_bytes())))


def patch_last_of_zip(path: Path, local_offset: int, central_offset: int, value: bytes) -> None:
    """Overwrite a field of the last member of a .zip archive, in both of its headers."""
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", local_offset), (b"PK\1\2", central_offset)):
        place = content.rindex(signature) + offset
        content[place : place + len(value)] = value
    path.write_bytes(content)


def encrypt_last_of_zip(path: Path) -> None:
    """Mark the last member of a .zip archive as encrypted."""
    patch_last_of_zip(path, 6, 8, struct.pack("<H", 1))


def misstate_last_of_zip(path: Path, size: int) -> None:
    """Make a .zip archive say of its last member that it unpacks to `size` bytes."""
    patch_last_of_zip(path, 22, 24, struct.pack("<I", size))


def misname_last_of_zip(path: Path, name: bytes, says_utf_8: bool = False) -> None:
    """Give the last member of a .zip archive another name of the same length, of any bytes."""
    patch_last_of_zip(path, 30, 46, name)
    if says_utf_8:
        patch_last_of_zip(path, 6, 8, struct.pack("<H", 0x800))
