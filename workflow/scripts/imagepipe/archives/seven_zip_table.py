"""Reading the table of a .7z archive: names, kinds, sizes and checksums, as columns.

py7zr reads what there is of each block, and this module what there is of each file: py7zr would
make a dictionary of each, which for 300,000 files takes three seconds and 240 MB. The table is
unpacked piece by piece and never in memory whole. Its format is described in 7zFormat.txt of the
LZMA SDK.
"""

import codecs
import io
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from py7zr.archiveinfo import PackInfo, UnpackInfo, read_uint64
from py7zr.exceptions import UnsupportedCompressionMethodError
from py7zr.properties import PROPERTY
from py7zr.py7zr import ArchiveFile

from imagepipe.texts import Texts

PIECE_SIZE = 1 << 16
# As many as py7zr takes.
MOST_FILES = 1 << 23
LONGEST_NAME = 1 << 16
FOLDER, FILE, SPECIAL = range(3)
SKIPPED_PROPERTIES = (
    PROPERTY.DUMMY,
    PROPERTY.EMPTY_FILE,
    PROPERTY.CREATION_TIME,
    PROPERTY.LAST_ACCESS_TIME,
    PROPERTY.LAST_WRITE_TIME,
    PROPERTY.START_POS,
)


@dataclass
class Block:
    """A block, and what is in it.

    `coders` is what py7zr reads of it, `place` its place behind the archive's first 32 bytes, and
    `packed_size` its size there, in bytes. `sizes` and `checksums` are of its contents, `count`
    each; where `known` is there, it tells which checksums mean something.
    """

    coders: Any
    place: int
    packed_size: int
    count: int = 1
    sizes: "array[int]" = field(default_factory=lambda: array("I"))
    checksums: "array[int]" = field(default_factory=lambda: array("I"))
    known: np.ndarray | None = None


@dataclass
class Table:
    """What a .7z archive says of itself.

    `names`, `kinds` and `has_content` are of all members, in the archive's order; those that have
    content are in the blocks.
    """

    blocks: list[Block] = field(default_factory=list)
    names: Texts = field(default_factory=Texts)
    kinds: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))
    has_content: np.ndarray = field(default_factory=lambda: np.empty(0, bool))


def read_table(pieces: Iterator[bytes], archive: Path) -> Table:
    """Read an unpacked table that comes in pieces, and all of these.

    Raises `UnsupportedCompressionMethodError` for blocks of several streams, and `ValueError`, or
    what else comes of it, for a table that is damaged.
    """
    file = io.BufferedReader(_Pieces(pieces), PIECE_SIZE)
    table = Table()
    _expect(file.read(1), PROPERTY.HEADER)
    kind = file.read(1)
    if kind == PROPERTY.MAIN_STREAMS_INFO:
        table.blocks = _read_blocks(file)
        kind = file.read(1)
    if kind == PROPERTY.FILES_INFO:
        _read_files(file, table, archive)
        kind = file.read(1)
    _expect(kind, PROPERTY.END)
    while file.read(PIECE_SIZE):
        pass  # so that the checksum of all is compared
    if np.count_nonzero(table.has_content) != sum(block.count for block in table.blocks):
        raise ValueError("there are not as many files as contents")
    return table


class _Pieces(io.RawIOBase):
    """A file of bytes that come in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces = pieces
        self.piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        if not self.piece:
            self.piece = memoryview(next(self.pieces, b""))
        size = min(len(buffer), len(self.piece))
        buffer[:size] = self.piece[:size]
        self.piece = self.piece[size:]
        return size


Reader: TypeAlias = "io.BufferedReader[_Pieces]"


def _expect(found: bytes, expected: bytes) -> None:
    if found != expected:
        raise ValueError(f"{expected!r} is expected in the table, and {found!r} found")


def _read_exactly(file: Reader, size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise EOFError("the table ends too early")
    return content


def _read_pieces(file: Reader, size: int) -> Iterator[bytes]:
    for start in range(0, size, PIECE_SIZE):
        yield _read_exactly(file, min(PIECE_SIZE, size - start))


def _read_blocks(file: Reader) -> list[Block]:
    """Read what the blocks are, and the sizes and checksums of what is in them."""
    packed, coders, kind = PackInfo(), [], file.read(1)
    if kind == PROPERTY.PACK_INFO:
        packed, kind = PackInfo.retrieve(file), file.read(1)
    if kind == PROPERTY.UNPACK_INFO:
        coders, kind = UnpackInfo.retrieve(file).folders, file.read(1)
    if len(coders) != len(packed.packsizes):
        raise UnsupportedCompressionMethodError(None, "several streams in a block")
    places = accumulate(packed.packsizes, initial=packed.packpos)
    blocks = [Block(*one) for one in zip(coders, places, packed.packsizes, strict=False)]
    if kind == PROPERTY.SUBSTREAMS_INFO:
        _read_contents(file, blocks)
        kind = file.read(1)
    else:
        _add_sizes(file, blocks, are_there=False)
        _add_checksums(file, blocks, are_there=False)
    _expect(kind, PROPERTY.END)
    return blocks


def _read_contents(file: Reader, blocks: list[Block]) -> None:
    kind = file.read(1)
    if kind == PROPERTY.NUM_UNPACK_STREAM:
        for block in blocks:
            block.count = read_uint64(file)
        kind = file.read(1)
    if sum(block.count for block in blocks) > MOST_FILES:
        raise ValueError(f"more than {MOST_FILES:,} files")
    has_sizes = kind == PROPERTY.SIZE
    _add_sizes(file, blocks, are_there=has_sizes)
    kind = file.read(1) if has_sizes else kind
    has_checksums = kind == PROPERTY.CRC
    _add_checksums(file, blocks, are_there=has_checksums)
    _expect(file.read(1) if has_checksums else kind, PROPERTY.END)


def _add_sizes(file: Reader, blocks: list[Block], *, are_there: bool) -> None:
    """Add the sizes; that of a block's last content is what the others leave of the block."""
    for block in blocks:
        if block.count > 1 and not are_there:
            raise ValueError("the sizes of the files are missing")
        left: int = block.coders.get_unpack_size()
        for sizes in _read_numbers(file, block.count - 1):
            left -= sum(sizes)
            _extend(block, sizes)
        if block.count:
            _extend(block, [left])


def _extend(block: Block, sizes: list[int]) -> None:
    """Add sizes, of four bytes a number, or of eight if one needs it."""
    try:
        block.sizes.extend(array(block.sizes.typecode, sizes))
    except OverflowError:
        block.sizes = array("q", [*block.sizes, *sizes])


def _add_checksums(file: Reader, blocks: list[Block], *, are_there: bool) -> None:
    """Add the checksums: that of the block where it is one content, and those of all others."""
    others: list[Block] = []
    for block in blocks:
        if block.count == 1 and block.coders.digestdefined:
            block.checksums.append(block.coders.crc)
        else:
            others.append(block)
    missing = sum(block.count for block in others)
    known = _read_flags(file, missing) if are_there else np.zeros(missing, bool)
    start = 0
    for block in others:
        flags = known[start : start + block.count]
        start += block.count
        values = np.zeros(block.count, np.uint32)
        given = int(np.count_nonzero(flags))
        values[flags] = np.frombuffer(_read_exactly(file, 4 * given), "<u4")
        block.checksums.frombytes(values.tobytes())
        if given < block.count:
            block.known = flags


def _read_numbers(file: Reader, count: int) -> Iterator[list[int]]:
    """Yield numbers, some thousands at a time, in the coding that has the length in the first byte.

    For most sizes, it is of one or two bytes, which are decoded here.
    """
    while count > 0:
        buffered = file.peek()
        numbers: list[int] = []
        place, end = 0, len(buffered) - 1
        while place < end and len(numbers) < count:
            first = buffered[place]
            if first < 0x80:
                numbers.append(first)
                place += 1
            elif first < 0xC0:
                numbers.append((first & 0x3F) << 8 | buffered[place + 1])
                place += 2
            else:
                break
        file.read(place)
        if len(numbers) < count:
            numbers.append(read_uint64(file))
        count -= len(numbers)
        yield numbers


def _read_flags(file: Reader, count: int) -> np.ndarray:
    """Return as many flags, bool [count]: all are set, or each has its bit."""
    if _read_exactly(file, 1) != b"\0":
        return np.ones(count, bool)
    return _read_bits(file, count)


def _read_bits(file: Reader, count: int) -> np.ndarray:
    bits = np.frombuffer(_read_exactly(file, -(-count // 8)), np.uint8)
    return np.unpackbits(bits, count=count).astype(bool)


def _read_files(file: Reader, table: Table, archive: Path) -> None:
    count = read_uint64(file)
    if count > MOST_FILES:
        raise ValueError(f"{count:,} files")
    table.has_content = np.ones(count, bool)
    # Without attributes, a member is taken for a file.
    table.kinds = np.full(count, FILE, np.uint8)
    while (kind := file.read(1)) != PROPERTY.END:
        size = read_uint64(file)
        if kind == PROPERTY.EMPTY_STREAM:
            table.has_content = ~_read_bits(file, count)
        elif kind == PROPERTY.NAME:
            _expect(_read_exactly(file, 1), b"\0")
            table.names = _read_names(file, size - 1)
        elif kind == PROPERTY.ATTRIBUTES:
            defined = _read_flags(file, count)
            _expect(_read_exactly(file, 1), b"\0")
            _read_kinds(file, table.kinds, defined)
        elif kind in SKIPPED_PROPERTIES:
            for _ in _read_pieces(file, size):
                pass
        else:
            raise ValueError(f"unknown property {kind!r}")
    if not len(table.names):
        # A single file may be without name; it has that of the archive.
        table.names.extend([archive.stem] * count)
    if len(table.names) != count:
        raise ValueError("there are not as many names as files")


def _read_names(file: Reader, size: int) -> Texts:
    names = Texts()
    decoder = codecs.getincrementaldecoder("utf-16-le")()
    last = ""
    for piece in _read_pieces(file, size):
        *whole, last = (last + decoder.decode(piece)).replace("\\", "/").split("\0")
        names.extend(whole)
        if len(last) > LONGEST_NAME:
            raise ValueError("a name is too long")
    if last or decoder.getstate()[0]:
        raise EOFError("the names end too early")
    return names


def _read_kinds(file: Reader, kinds: np.ndarray, defined: np.ndarray) -> None:
    """Read the attributes, and tell files, folders and anything else by them."""
    rows = slice(None) if defined.all() else np.flatnonzero(defined)
    kind_of: dict[int, int] = {}
    found = kinds[rows]
    start = 0
    for piece in _read_pieces(file, 4 * len(found)):
        attributes, inverse = np.unique(np.frombuffer(piece, "<u4"), return_inverse=True)
        for one in attributes.tolist():
            if one not in kind_of:
                kind_of[one] = kind_of_member(one)
        codes = np.array([kind_of[one] for one in attributes.tolist()], np.uint8)
        found[start : start + len(inverse)] = codes[inverse]
        start += len(inverse)
    kinds[rows] = found


def kind_of_member(attributes: int) -> int:
    """Return `FILE`, `FOLDER`, or `SPECIAL` for links and devices."""
    member = ArchiveFile(0, {"attributes": attributes})  # type: ignore[typeddict-item]
    if member.is_file:
        return FILE
    return FOLDER if member.is_directory else SPECIAL
