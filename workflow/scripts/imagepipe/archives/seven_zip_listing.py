"""The listing at the end of a .7z archive: names, kinds, sizes and checksums.

py7zr reads the description of each block, and this module that of each file: py7zr itself makes a
dictionary of each, which for 300,000 files takes 240 MB and five times as long. The format is
described in 7zFormat.txt of the LZMA SDK.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from io import BytesIO
from itertools import accumulate, chain, compress, islice
from operator import not_
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from py7zr.archiveinfo import PackInfo, UnpackInfo, read_uint64
from py7zr.exceptions import UnsupportedCompressionMethodError
from py7zr.properties import PROPERTY
from py7zr.py7zr import ArchiveFile

from imagepipe.files import nfc

# No competition has more; a hostile listing of more would take too much memory.
MOST_FILES = 1 << 21
# Where the blocks begin, in bytes.
FIRST_BLOCK = 32
SKIPPED_PROPERTIES = (
    PROPERTY.DUMMY,
    PROPERTY.EMPTY_FILE,
    PROPERTY.CREATION_TIME,
    PROPERTY.LAST_ACCESS_TIME,
    PROPERTY.LAST_WRITE_TIME,
    PROPERTY.START_POS,
)


class Kind(Enum):
    """What a member of an archive is; a link or a device is `SPECIAL`."""

    FILE = 1
    FOLDER = 2
    SPECIAL = 3


# A member's name, kind, size and checksum.
Member = tuple[str, Kind, int, int | None]


@dataclass(frozen=True)
class Members:
    """Members of an archive, in columns: sizes are in bytes, and checksums CRC-32.

    A checksum is None where the archive has none.
    """

    names: list[str]
    kinds: list[Kind]
    sizes: list[int]
    checksums: list[int | None]

    def rows(self) -> Iterator[Member]:
        """Yield the members one by one."""
        return zip(self.names, self.kinds, self.sizes, self.checksums, strict=True)


class Block(NamedTuple):
    """A compressed stream of several files' contents ("folder" in the format's own words).

    `folder` is py7zr's description of it. `offset`, in the archive, and `packed_size` are in bytes.
    """

    folder: Any
    offset: int
    packed_size: int


@dataclass(frozen=True)
class BlockListing:
    """What a .7z archive holds: its blocks with their members, and members without content."""

    blocks: list[tuple[Block, Members]]
    empty: Members

    def members(self) -> Iterator[Member]:
        """Yield all members."""
        return chain(self.empty.rows(), *(members.rows() for _, members in self.blocks))


def read_listing(content: bytes, archive: Path) -> BlockListing:
    """Read a listing that has been unpacked.

    Raises `UnsupportedCompressionMethodError` for a block of several streams, and `ValueError` or
    another exception for damage.
    """
    file = _Reader(content)
    file.expect(PROPERTY.HEADER)
    blocks, counts, sizes, checksums = _read_streams(file)
    names, kinds, has_content = _read_files(file, archive)
    file.expect(PROPERTY.END)
    if sum(has_content) != len(sizes):
        raise ValueError("there are not as many files as contents")
    full_names, full_kinds = list(compress(names, has_content)), list(compress(kinds, has_content))
    found: list[tuple[Block, Members]] = []
    start = 0
    for block, count in zip(blocks, counts, strict=True):
        rows = slice(start, start + count)
        members = Members(full_names[rows], full_kinds[rows], sizes[rows], checksums[rows])
        found.append((block, members))
        start += count
    is_empty = [not is_full for is_full in has_content]
    names, kinds = list(compress(names, is_empty)), list(compress(kinds, is_empty))
    return BlockListing(found, Members(names, kinds, [0] * len(names), [None] * len(names)))


class _Reader(BytesIO):
    """Reads the elements of a listing, and raises `EOFError` where it is cut short."""

    def take(self, size: int) -> bytes:
        content = self.read(size)
        if len(content) != size:
            raise EOFError("the listing ends too early")
        return content

    def accept(self, mark: bytes) -> bool:
        """Read a byte, such as the mark of a section, if it comes next, and say whether it does."""
        position = self.tell()
        if self.read(1) == mark:
            return True
        self.seek(position)
        return False

    def expect(self, mark: bytes) -> None:
        if not self.accept(mark):
            raise ValueError(f"{mark!r} is expected in the listing, and {self.read(1)!r} found")

    def numbers(self, count: int) -> list[int]:
        return [read_uint64(self) for _ in range(count)]

    def words(self, count: int) -> list[int]:
        """Read numbers of four bytes each."""
        words: list[int] = np.frombuffer(self.take(4 * count), "<u4").tolist()
        return words

    def bits(self, count: int) -> list[bool]:
        bits = np.frombuffer(self.take(-(-count // 8)), np.uint8)
        flags: list[bool] = np.unpackbits(bits, count=count).astype(bool).tolist()
        return flags

    def flags(self, count: int) -> list[bool]:
        """Read a bit for each of `count` members, or a byte that stands for a row of ones."""
        return self.bits(count) if self.take(1) == b"\0" else [True] * count


def _read_streams(
    file: _Reader,
) -> tuple[list[Block], list[int], list[int], list[int | None]]:
    """Read the blocks, how many files each has, and the files' sizes and checksums."""
    if not file.accept(PROPERTY.MAIN_STREAMS_INFO):
        return [], [], [], []
    packed = PackInfo.retrieve(file) if file.accept(PROPERTY.PACK_INFO) else PackInfo()
    folders = UnpackInfo.retrieve(file).folders if file.accept(PROPERTY.UNPACK_INFO) else []
    if len(folders) != len(packed.packsizes):
        raise UnsupportedCompressionMethodError(None, "several streams in a block")
    offsets = accumulate(packed.packsizes, initial=FIRST_BLOCK + packed.packpos)
    blocks = list(map(Block, folders, offsets, packed.packsizes))

    has_details = file.accept(PROPERTY.SUBSTREAMS_INFO)
    counts = [1] * len(blocks)
    if file.accept(PROPERTY.NUM_UNPACK_STREAM):
        counts = file.numbers(len(blocks))
    if sum(counts) > MOST_FILES:
        raise ValueError(f"more than {MOST_FILES:,} files")
    sizes: list[int] = []
    has_sizes = file.accept(PROPERTY.SIZE)
    for folder, count in zip(folders, counts, strict=True):
        if count > 1 and not has_sizes:
            raise ValueError("the sizes of the files are missing")
        if count:
            given = file.numbers(count - 1)
            # The last file has what the others leave of the block.
            sizes += [*given, folder.get_unpack_size() - sum(given)]
    # A block of one file may have that file's checksum itself.
    has_own = [f.digestdefined and n == 1 for f, n in zip(folders, counts, strict=True)]
    missing = sum(compress(counts, map(not_, has_own)))
    others = iter(_read_checksums(file, missing))
    checksums: list[int | None] = []
    for folder, count, is_own in zip(folders, counts, has_own, strict=True):
        checksums += [folder.crc] if is_own else islice(others, count)
    if has_details:
        file.expect(PROPERTY.END)
    file.expect(PROPERTY.END)
    return blocks, counts, sizes, checksums


def _read_checksums(file: _Reader, count: int) -> list[int | None]:
    """Read the CRC-32 of each of `count` files, or None where there is none."""
    if not file.accept(PROPERTY.CRC):
        return [None] * count
    known = file.flags(count)
    checksums = iter(file.words(sum(known)))
    return [next(checksums) if is_known else None for is_known in known]


def _read_files(file: _Reader, archive: Path) -> tuple[list[str], list[Kind], list[bool]]:
    """Read the names of all members, what they are, and whether they are in a block."""
    if not file.accept(PROPERTY.FILES_INFO):
        return [], [], []
    count = read_uint64(file)
    if count > MOST_FILES:
        raise ValueError(f"{count:,} files")
    # A single file may be without name, and has that of the archive.
    names = [archive.stem] * count
    kinds = [Kind.FILE] * count
    has_content = [True] * count
    while not file.accept(PROPERTY.END):
        mark, size = file.take(1), read_uint64(file)
        if mark == PROPERTY.EMPTY_STREAM:
            has_content = [not is_empty for is_empty in file.bits(count)]
        elif mark == PROPERTY.NAME:
            file.expect(b"\0")
            text = file.take(size - 1).decode("utf-16-le")
            if text.count("\0") != count or text[-1:] not in ("", "\0"):
                raise ValueError("there are not as many names as files")
            names = nfc(text.replace("\\", "/")).split("\0")[:count]
        elif mark == PROPERTY.ATTRIBUTES:
            defined = file.flags(count)
            file.expect(b"\0")
            attributes = iter(file.words(sum(defined)))
            kinds = [kind_of(next(attributes)) if known else Kind.FILE for known in defined]
        elif mark in SKIPPED_PROPERTIES:
            file.take(size)
        else:
            raise ValueError(f"unknown property {mark!r}")
    return names, kinds, has_content


@lru_cache(maxsize=1_024)
def kind_of(attributes: int) -> Kind:
    """Return what a member is, by its attributes on Windows and Unix."""
    member = ArchiveFile(0, {"attributes": attributes})  # type: ignore[typeddict-item]
    if member.is_file:
        return Kind.FILE
    return Kind.FOLDER if member.is_directory else Kind.SPECIAL
