"""Folders and archives, whose files can be listed, read and copied."""

import io
import shutil
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from imagepipe.archives.chunk import Listing
from imagepipe.archives.reading import chunks_of
from imagepipe.archives.safety import check_names, damage_in_one_line
from imagepipe.archives.unpacking import copy_members
from imagepipe.archives.zip import check_method, name_of

PIECE = 1 << 20
# Bytes of an inner archive that is read into the memory.
SMALL = 1 << 26
# Bytes at the end of a larger one that are kept: the central directory of 300,000 files.
TAIL = 1 << 25


class Holder(Protocol):
    """A folder or an archive of files.

    `any_order` says whether a file can be read without unpacking those before it.
    """

    any_order: bool

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of some files, in the order that is quickest."""

    def copy(self, name: str, target: Path) -> None:
        """Copy a file."""


class FolderHolder:
    """A plain folder."""

    any_order = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, (self.folder / name).read_bytes()

    def copy(self, name: str, target: Path) -> None:
        shutil.copyfile(self.folder / name, target)


class ArchiveHolder:
    """A .7z or .tar archive."""

    any_order = False

    def __init__(self, listing: Listing) -> None:
        self.listing = listing

    def members(self) -> list[tuple[str, int]]:
        """Return the names and sizes of the files, in bytes."""
        return list(zip(self.listing.names, self.listing.sizes, strict=True))

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        wanted = set(names)
        for chunk in chunks_of(self.listing, wanted.__contains__):
            for name, (content, _) in zip(chunk.names, chunk.read(), strict=True):
                yield name, content

    def copy(self, name: str, target: Path) -> None:
        copy_members(self.listing, {name: target})


class ZipHolder:
    """A .zip archive, which may lie in another one; `label` stands for it in messages."""

    any_order = True

    def __init__(self, label: Path, file: BinaryIO) -> None:
        self.label = label
        self.zip = zipfile.ZipFile(file)
        infos = self.zip.infolist()
        check_names(label, map(name_of, infos))
        self.infos = {name_of(info): info for info in infos if not info.is_dir()}

    def members(self) -> list[tuple[str, int]]:
        """Return the names and sizes of the files, in bytes."""
        return [(name, info.file_size) for name, info in self.infos.items()]

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in sorted(names, key=lambda one: self.infos[one].header_offset):
            check_method(self.label, self.infos[name])
            with damage_in_one_line(self.label):
                content = self.zip.read(self.infos[name])
            yield name, content

    def copy(self, name: str, target: Path) -> None:
        check_method(self.label, self.infos[name])
        with (
            damage_in_one_line(self.label),
            self.zip.open(self.infos[name]) as source,
            target.open("wb") as copy,
        ):
            shutil.copyfileobj(source, copy, PIECE)

    def is_compressed(self, name: str) -> bool:
        """Return whether reading a file takes unpacking it."""
        return self.infos[name].compress_type != zipfile.ZIP_STORED

    def open_inner(self, name: str) -> BinaryIO:
        """Open an inner archive as a file that can be sought."""
        info = self.infos[name]
        check_method(self.label, info)
        if info.file_size <= SMALL:
            return io.BytesIO(self.zip.read(info))
        return cast(BinaryIO, io.BufferedReader(InnerFile(self.zip, info), PIECE))


class InnerFile(io.RawIOBase):
    """A large member of a .zip archive as a file that can be sought.

    Its end, with the listing of an inner archive, is kept. Reads elsewhere go forward through the
    member, and start again where they go back.
    """

    def __init__(self, outer: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self.stream = outer.open(info)
        self.size = info.file_size
        self.position = 0
        self.tail_start = max(0, info.file_size - TAIL)
        self.stream.seek(self.tail_start)
        self.tail = self.stream.read()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}
        self.position = max(0, start[whence] + offset)
        return self.position

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        if self.position >= self.tail_start:
            start = self.position - self.tail_start
            content = self.tail[start : start + len(view)]
        else:
            self.stream.seek(self.position)
            content = self.stream.read(min(len(view), self.tail_start - self.position))
        view[: len(content)] = content
        self.position += len(content)
        return len(content)
