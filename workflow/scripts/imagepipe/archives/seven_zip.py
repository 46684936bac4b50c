"""Reading .7z archives block by block.

A .7z archive is a row of blocks ("folders" in the format's own words), each one compressed stream
of many files' contents, and a table of names, sizes and checksums (`seven_zip_table`). py7zr's
decompressor reads the streams. Its own `extract` asks the decompressor for each file by itself,
which takes several times as long for small files as taking a stream in large pieces, to be cut up
here.
"""

import io
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from py7zr.archiveinfo import HeaderStreamsInfo, SignatureHeader
from py7zr.compressor import SevenZipDecompressor, SupportedMethods
from py7zr.exceptions import PasswordRequired, UnsupportedCompressionMethodError
from py7zr.properties import COMPRESSION_METHOD, MAGIC_7Z, PROPERTY

from imagepipe.archives import seven_zip_table
from imagepipe.archives.parts import (
    Wanted,
    check_names,
    check_sizes,
    damage_in_one_line,
    refuse_special,
)
from imagepipe.archives.seven_zip_table import FILE, SPECIAL, Block, Table, read_table
from imagepipe.errors import UserError, one_line
from imagepipe.texts import Texts

PIECE_SIZE = 1 << 22
# Methods with which py7zr unpacks all that it has read of a block, whatever that comes to, and how
# much it may read of such a block at once.
UNLIMITED = {
    COMPRESSION_METHOD.MISC_DEFLATE: "Deflate",
    COMPRESSION_METHOD.MISC_DEFLATE64: "Deflate64",
    COMPRESSION_METHOD.MISC_ZSTD: "Zstandard",
}
READ_OF_UNLIMITED = 1 << 10
# pyppmd (1.3.1) writes outside of its memory when the content is damaged, which ends the process.
UNSAFE = {COMPRESSION_METHOD.PPMD: "PPMd"}
# Where the blocks begin, in bytes.
FIRST_BLOCK = 32
# What says how the table is compressed takes some 40 bytes, and the table 50 for each file.
LARGEST_TABLE_START = 1 << 16
LARGEST_TABLE = 1 << 28


@dataclass(frozen=True)
class Stream:
    """A block's place in the archive's file, in bytes, and what py7zr needs to decompress it."""

    offset: int
    packed_size: int
    unpacked_size: int
    sizes_after_coders: list[int]
    coders: list[dict[str, Any]]
    checksum: int | None


@dataclass(frozen=True)
class SevenZipPart:
    """The wanted files of one block.

    `skipped` are the bytes of other files in front of some of them, by their position. Files
    without content are in no block, so there is no stream of theirs. If the block is `alone` in its
    archive, no other process can read along, and a thread unpacks while the files are used; beside
    other processes that would make both slower, by a sixth on two cores.
    """

    archive: Path
    names: Texts
    sizes: "array[int]"
    checksums: Sequence[int | None]
    skipped: dict[int, int]
    stream: Stream | None
    alone: bool = False

    def read(self) -> Iterator[bytes]:
        if self.stream is None:
            yield from (b"" for _ in self.names)
            return
        with damage_in_one_line(self.archive):
            skipped = (self.skipped.get(position, 0) for position in range(len(self.sizes)))
            places = chain.from_iterable(zip(skipped, self.sizes, strict=True))
            pieces = pieces_of(self.archive, self.stream)
            contents = cut(read_ahead(pieces) if self.alone else pieces, places)
            yield from islice(contents, 1, None, 2)


def seven_zip_parts(archive: Path, wanted: Wanted) -> Iterator[SevenZipPart]:
    """Yield a part for each block of a .7z archive that has files whose name is `wanted`.

    Raises `UserError` for an archive that is encrypted, or compressed in a way that py7zr does not
    know, and for its members as `archives.parts_of` does.
    """
    try:
        yield from _parts(archive, open_table(archive), wanted)
    except PasswordRequired:
        raise UserError(f"{archive}: is encrypted; pack it again without a password") from None
    except UnsupportedCompressionMethodError as error:
        raise UserError(
            f"{archive}: uses a compression that is not supported ({one_line(error.message)}); "
            "pack it again as LZMA2"
        ) from None


def open_table(archive: Path) -> Table:
    """Read the table of a .7z archive, which may be compressed itself."""
    with archive.open("rb") as file:
        if file.read(len(MAGIC_7Z)) != MAGIC_7Z:
            raise ValueError("it does not begin as a .7z archive does")
        start = SignatureHeader.retrieve(file)
        place = FIRST_BLOCK + start.nextheaderofs
        if start.nextheadersize > archive.stat().st_size - place:
            raise EOFError("it ends before its table")
        if not start.nextheadersize:
            return Table()  # of an archive without members
        file.seek(place)
        if file.read(1) != PROPERTY.ENCODED_HEADER:
            file.seek(place)
            pieces = plain_pieces(file, start.nextheadersize)
            return read_table(verified(pieces, start.nextheadercrc), archive)
        if start.nextheadersize > LARGEST_TABLE_START:
            raise ValueError("its table is in too many pieces")
        file.seek(place)
        content = b"".join(verified(plain_pieces(file, start.nextheadersize), start.nextheadercrc))
    streams = HeaderStreamsInfo.retrieve(io.BytesIO(content[1:]))
    (block,), (size,) = streams.unpackinfo.folders, streams.packinfo.packsizes
    # 7-Zip itself compresses tables with LZMA alone.
    refuse_methods(block.coders, UNSAFE | UNLIMITED)
    stream = stream_of(block, FIRST_BLOCK + streams.packinfo.packpos, size)
    if stream.unpacked_size > LARGEST_TABLE:
        raise ValueError(f"its table has {stream.unpacked_size:,} bytes")
    pieces = pieces_of(archive, stream, seven_zip_table.PIECE_SIZE)
    return read_table(verified(pieces, block.crc if block.digestdefined else None), archive)


def plain_pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the next `size` bytes of a file in pieces."""
    while piece := file.read(min(size, seven_zip_table.PIECE_SIZE)):
        size -= len(piece)
        yield piece


def verified(pieces: Iterable[bytes], checksum: int | None) -> Iterator[bytes]:
    """Yield pieces, and raise `ValueError` after the last if their CRC-32 is another one."""
    found = 0
    for piece in pieces:
        found = zlib.crc32(piece, found)
        yield piece
    if checksum not in (None, found):
        raise ValueError("the checksum of its table is wrong")


def refuse_methods(coders: Iterable[dict[str, Any]], methods: Mapping[bytes, str]) -> None:
    """Raise `UnsupportedCompressionMethodError` for a block that is compressed by such a method."""
    for coder in coders:
        if coder["method"] in methods:
            raise UnsupportedCompressionMethodError(None, methods[coder["method"]])


def _parts(archive: Path, table: Table, wanted: Wanted) -> Iterator[SevenZipPart]:
    if any(SupportedMethods.needs_password(block.coders.coders) for block in table.blocks):
        raise PasswordRequired(None, "")
    check_members(archive, table)
    is_file, has_content = (table.kinds == FILE).tobytes(), table.has_content.tobytes()
    members = zip(table.names, is_file, has_content, strict=True)
    names = Texts(name for name, file, full in members if file and not full and wanted(name))
    if names:
        sizes = array("I", bytes(4 * len(names)))
        yield SevenZipPart(archive, names, sizes, [None] * len(names), {}, None)
    # The table's own names go while the parts' come.
    contents = compress(zip(table.names.drain(), is_file, strict=True), has_content)
    for block in table.blocks:
        stream = stream_of(block.coders, FIRST_BLOCK + block.place, block.packed_size)
        part = part_of(archive, block, stream, islice(contents, block.count), wanted)
        if part.names:
            # Fails here for a method that isn't known, before anything has been written.
            _decompressor(stream)
            yield part if len(table.blocks) > 1 else replace(part, alone=True)


def check_members(archive: Path, table: Table) -> None:
    """Raise `UserError` for members that are not what an archive of images may hold."""
    if SPECIAL in table.kinds:
        refuse_special(archive, next(compress(table.names, table.kinds == SPECIAL)))
    is_file = table.kinds == FILE
    check_names(
        archive, lambda: compress(table.names, is_file.tobytes()), int(np.count_nonzero(is_file))
    )
    names = compress(table.names, (is_file & table.has_content).tobytes())
    sizes = chain.from_iterable(block.sizes for block in table.blocks)
    file_sizes = compress(sizes, is_file[table.has_content].tobytes())
    check_sizes(archive, zip(names, file_sizes, strict=True))


def part_of(
    archive: Path,
    block: Block,
    stream: Stream,
    members: Iterable[tuple[str, int]],
    wanted: Wanted,
) -> SevenZipPart:
    """Return the wanted ones of a block's members: each is a name, and whether it is a file."""
    names: list[str] = []
    rows = array("I")
    skipped: dict[int, int] = {}
    gap = 0
    for row, ((name, is_file), size) in enumerate(zip(members, block.sizes, strict=True)):
        if is_file and wanted(name):
            if gap:
                skipped[len(rows)] = gap
                gap = 0
            names.append(name)
            rows.append(row)
        else:
            gap += size
    sizes, checksums = block.sizes, block.checksums
    if len(rows) < block.count:
        sizes, checksums = (array("I", (of[row] for row in rows)) for of in (sizes, checksums))
    return SevenZipPart(
        archive,
        Texts(names),
        sizes,
        checksums if block.known is None else known_ones(block, rows),
        skipped,
        stream,
    )


def known_ones(block: Block, rows: Iterable[int]) -> list[int | None]:
    """Return the checksums at some rows of a block that has not all of them."""
    assert block.known is not None
    return [block.checksums[row] if block.known[row] else None for row in rows]


def stream_of(block: Any, place: int, size: int) -> Stream:
    """Return the stream of py7zr's object of a block."""
    return Stream(
        place, size, block.get_unpack_size(), list(block.unpacksizes), block.coders, block.crc
    )


def _decompressor(stream: Stream, block_size: int | None = None) -> SevenZipDecompressor:
    refuse_methods(stream.coders, UNSAFE)
    unlimited = any(coder["method"] in UNLIMITED for coder in stream.coders)
    return SevenZipDecompressor(
        stream.coders,
        stream.packed_size,
        stream.sizes_after_coders,
        stream.checksum,
        blocksize=READ_OF_UNLIMITED if unlimited else block_size,
    )


def pieces_of(archive: Path, stream: Stream, piece_size: int | None = None) -> Iterator[bytes]:
    """Yield the content of a block in pieces, of `PIECE_SIZE` if nothing else is asked for."""
    left = stream.unpacked_size
    largest = piece_size or PIECE_SIZE
    decompressor = _decompressor(stream, piece_size)
    with archive.open("rb") as packed:
        packed.seek(stream.offset)
        while left > 0:
            place = packed.tell()
            piece = bytes(decompressor.decompress(packed, min(left, largest)))
            if not piece and packed.tell() == place:
                return
            left -= len(piece)
            if piece:
                yield piece


def read_ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield pieces, of which a thread gets the next one while this one is used."""
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, pieces, b"")
        while piece := upcoming.result():
            upcoming = thread.submit(next, pieces, b"")
            yield piece


def cut(pieces: Iterator[bytes], sizes: Iterable[int]) -> Iterator[bytes]:
    """Cut a stream that comes in pieces into contents of the given sizes."""
    piece, start = b"", 0
    for size in sizes:
        if start + size <= len(piece):
            yield piece[start : start + size]
            start += size
            continue
        parts = [piece[start:]]
        missing = size - len(parts[0])
        while missing > 0:
            piece = next(pieces, b"")
            if not piece:
                raise EOFError("a block ends too early")
            start = min(missing, len(piece))
            parts.append(piece[:start])
            missing -= start
        yield b"".join(parts)
