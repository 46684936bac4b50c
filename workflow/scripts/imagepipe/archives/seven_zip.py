"""Reading .7z archives block by block.

A .7z archive is a row of blocks, each one compressed stream of many files' contents, and a listing
of the files (`seven_zip_listing`). py7zr's decompressor reads the streams. Its own `extract` asks
the decompressor for each file by itself, which for small files takes several times as long as
taking a stream in large pieces and cutting it up here.
"""

import io
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, compress
from pathlib import Path
from typing import Any

from py7zr.archiveinfo import HeaderStreamsInfo, SignatureHeader
from py7zr.compressor import SevenZipDecompressor, SupportedMethods
from py7zr.exceptions import PasswordRequired, UnsupportedCompressionMethodError
from py7zr.properties import COMPRESSION_METHOD, MAGIC_7Z, PROPERTY

from imagepipe.archives.chunk import Chunk, Listing, Wanted
from imagepipe.archives.safety import check_names, check_total, refuse_special
from imagepipe.archives.seven_zip_listing import (
    FIRST_BLOCK,
    Block,
    BlockListing,
    Kind,
    Members,
    read_listing,
)
from imagepipe.errors import UserError, one_line

PIECE_SIZE = 1 << 22
# With these methods, py7zr sets no limit to what one read of a block unpacks to. So a read may only
# have this many bytes.
UNLIMITED = {
    COMPRESSION_METHOD.MISC_DEFLATE: "Deflate",
    COMPRESSION_METHOD.MISC_DEFLATE64: "Deflate64",
    COMPRESSION_METHOD.MISC_ZSTD: "Zstandard",
}
READ_OF_UNLIMITED = 1 << 10
# Damaged content makes pyppmd (1.3.1) write outside of its memory, which ends the process.
UNSAFE = {COMPRESSION_METHOD.PPMD: "PPMd"}
# The listing takes some 50 bytes for each file, and its own description 40.
LARGEST_LISTING = 1 << 28
LARGEST_DESCRIPTION = 1 << 16


@dataclass(frozen=True)
class SevenZipChunk(Chunk):
    """The wanted files of one block, or those without content, which are in no block.

    `cuts` has, for each, the bytes of other files before it, and its own. A block that is `alone`
    in its archive is unpacked in a thread while its files are used. Where other processes read
    other blocks, a thread would make all of them slower, by a sixth on two cores.
    """

    cuts: list[int]
    block: Block | None
    alone: bool = False

    def contents(self) -> Iterator[bytes]:
        if self.block is None:
            yield from (b"" for _ in self.names)
            return
        pieces = read_block(self.archive, self.block)
        yield from cut(read_ahead(pieces) if self.alone else pieces, self.cuts)

    def pieces(self) -> Iterator[Iterator[bytes]]:
        if self.block is None:
            yield from (iter(()) for _ in self.names)
            return
        stream = Stream(read_block(self.archive, self.block))
        for gap, size in zip(self.cuts[::2], self.cuts[1::2], strict=True):
            for _ in stream.take(gap):
                pass
            yield stream.take(size)


class SevenZipListing(Listing):
    """The files in a .7z archive. Links and devices are refused only if they are to be read.

    Raises `UserError` for an archive that is encrypted, or compressed by a method that py7zr does
    not know, and for its members as `list_archive` does.
    """

    def __init__(self, archive: Path) -> None:
        with unsupported_in_one_line(archive):
            self.blocks = open_listing(archive)
            if any(
                SupportedMethods.needs_password(block.folder.coders)
                for block, _ in self.blocks.blocks
            ):
                raise PasswordRequired(None, "")
        check_members(archive, self.blocks)
        parts = [self.blocks.empty, *(members for _, members in self.blocks.blocks)]
        is_file = [kind is not Kind.FOLDER for part in parts for kind in part.kinds]
        names = list(compress(chain.from_iterable(part.names for part in parts), is_file))
        sizes = list(compress(chain.from_iterable(part.sizes for part in parts), is_file))
        folders = [name for name, kind, _, _ in self.blocks.members() if kind is Kind.FOLDER]
        super().__init__(archive, names, sizes, folders)

    def chunks(self, wanted: Wanted) -> Iterator[SevenZipChunk]:
        with unsupported_in_one_line(self.archive):
            chunks = list(_chunks(self.archive, self.blocks, wanted))
        # The bytes between wanted files have to be unpacked as well.
        check_total(self.archive, (length for chunk in chunks for length in chunk.cuts))
        yield from chunks


@contextmanager
def unsupported_in_one_line(archive: Path) -> Iterator[None]:
    """Turn py7zr's errors for what it cannot unpack into a `UserError`."""
    try:
        yield
    except PasswordRequired:
        raise UserError(f"{archive}: is encrypted; pack it again without a password") from None
    except UnsupportedCompressionMethodError as error:
        raise UserError(
            f"{archive}: uses a compression that is not supported ({one_line(error.message)}); "
            "pack it again as LZMA2"
        ) from None


def open_listing(archive: Path) -> BlockListing:
    """Read the listing of a .7z archive, which may be compressed itself."""
    with archive.open("rb") as file:
        if file.read(len(MAGIC_7Z)) != MAGIC_7Z:
            raise ValueError("it does not begin as a .7z archive does")
        start = SignatureHeader.retrieve(file)
        if not start.nextheadersize:
            return BlockListing([], Members([], [], [], []))
        refuse_long_listing(start.nextheadersize)
        file.seek(FIRST_BLOCK + start.nextheaderofs)
        content = file.read(start.nextheadersize)
    check_listing(content, start.nextheadercrc)
    if content.startswith(PROPERTY.ENCODED_HEADER):
        if len(content) > LARGEST_DESCRIPTION:
            raise ValueError("its listing is in too many blocks")
        streams = HeaderStreamsInfo.retrieve(io.BytesIO(content[1:]))
        (folder,), (size,) = streams.unpackinfo.folders, streams.packinfo.packsizes
        # 7-Zip itself compresses listings by LZMA alone.
        refuse_methods(folder.coders, UNSAFE | UNLIMITED)
        refuse_long_listing(folder.get_unpack_size())
        block = Block(folder, FIRST_BLOCK + streams.packinfo.packpos, size)
        content = b"".join(read_block(archive, block))
        check_listing(content, folder.crc if folder.digestdefined else None)
    return read_listing(content, archive)


def refuse_long_listing(size: int) -> None:
    """Raise `ValueError` for a listing that would fill the memory."""
    if size > LARGEST_LISTING:
        raise ValueError(f"its listing has {size:,} bytes")


def check_listing(content: bytes, checksum: int | None) -> None:
    """Raise `ValueError` if a listing has another CRC-32."""
    if checksum not in (None, zlib.crc32(content)):
        raise ValueError("the checksum of its listing is wrong")


def refuse_methods(coders: Iterable[Mapping[str, Any]], methods: Mapping[bytes, str]) -> None:
    """Raise `UnsupportedCompressionMethodError` for a block that is compressed by such a method."""
    for coder in coders:
        if coder["method"] in methods:
            raise UnsupportedCompressionMethodError(None, methods[coder["method"]])


def check_members(archive: Path, listing: BlockListing) -> None:
    """Raise `UserError` for members that an archive of images may not hold."""
    is_file = [kind is not Kind.FOLDER for _, kind, _, _ in listing.members()]
    check_names(archive, compress((name for name, _, _, _ in listing.members()), is_file))
    # A negative size would send a reader back, to read the same again and again. Of all members:
    # one that says it is a folder may have content, too.
    if any(size < 0 for _, _, size, _ in listing.members()):
        raise ValueError("a member of a negative size")


def _chunks(archive: Path, listing: BlockListing, wanted: Wanted) -> Iterator[SevenZipChunk]:
    blocks = [block for block, _ in listing.blocks]
    for block, members in [(None, listing.empty), *listing.blocks]:
        names: list[str] = []
        sizes: list[int] = []
        checksums: list[int | None] = []
        cuts: list[int] = []
        gap = 0
        for name, kind, size, checksum in members.rows():
            if kind is Kind.SPECIAL and wanted(name):
                refuse_special(archive, name)
            if kind is Kind.FILE and wanted(name):
                names.append(name)
                sizes.append(size)
                checksums.append(checksum)
                cuts += (gap, size)
                gap = 0
            else:
                gap += size
        if not names:
            continue
        if block is not None:
            decompressor_of(block)  # fails here for an unknown method, before anything is written
        yield SevenZipChunk(archive, names, sizes, checksums, cuts, block, len(blocks) == 1)


def decompressor_of(block: Block) -> SevenZipDecompressor:
    """Return py7zr's decompressor for a block."""
    folder = block.folder
    refuse_methods(folder.coders, UNSAFE)
    unlimited = any(coder["method"] in UNLIMITED for coder in folder.coders)
    read_size = READ_OF_UNLIMITED if unlimited else None
    return SevenZipDecompressor(
        folder.coders, block.packed_size, folder.unpacksizes, folder.crc, blocksize=read_size
    )


def read_block(archive: Path, block: Block) -> Iterator[bytes]:
    """Yield the content of a block, in pieces of up to `PIECE_SIZE` bytes."""
    left = block.folder.get_unpack_size()
    decompressor = decompressor_of(block)
    with archive.open("rb") as packed:
        packed.seek(block.offset)
        while left > 0:
            position = packed.tell()
            piece = bytes(decompressor.decompress(packed, min(left, PIECE_SIZE)))
            if not piece and packed.tell() == position:
                return
            left -= len(piece)
            if piece:
                yield piece


def read_ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield pieces, and let a thread get the next one meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, pieces, b"")
        while piece := upcoming.result():
            upcoming = thread.submit(next, pieces, b"")
            yield piece


def cut(pieces: Iterator[bytes], lengths: Iterable[int]) -> Iterator[bytes]:
    """Cut contents out of a stream that comes in pieces.

    The lengths are in turn those of bytes to skip, which are not kept, and those of contents.
    """
    piece, start = b"", 0
    for number, length in enumerate(lengths):
        is_content = number % 2 == 1
        if start + length <= len(piece):
            if is_content:
                yield piece[start : start + length]
            start += length
            continue
        found = [piece[start:]] if is_content else []
        missing = length - (len(piece) - start)
        while missing > 0:
            piece = next(pieces, b"")
            if not piece:
                raise EOFError("a block ends too early")
            start = min(missing, len(piece))
            if is_content:
                found.append(piece[:start])
            missing -= start
        if is_content:
            yield b"".join(found)


class Stream:
    """A stream that comes in pieces, as a row of files."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def take(self, length: int) -> Iterator[bytes]:
        """Yield the next `length` bytes, in pieces."""
        while length > 0:
            piece = self._rest or next(self._pieces, b"")
            if not piece:
                raise EOFError("a block ends too early")
            self._rest = piece[length:]
            length -= min(length, len(piece))
            yield piece[: len(piece) - len(self._rest)]
