"""Reading .7z archives block by block.

A .7z archive is a row of blocks ("folders" in the format's own words), each one compressed stream
of many files' contents, and a table of names, sizes and checksums. py7zr reads the table, and its
decompressor the streams. Its own `extract` asks the decompressor for each file by itself, which
takes several times as long for small files as taking a stream in large pieces, to be cut up here.
"""

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import py7zr
from py7zr.archiveinfo import HeaderStreamsInfo, SignatureHeader
from py7zr.compressor import SevenZipDecompressor
from py7zr.exceptions import PasswordRequired, UnsupportedCompressionMethodError
from py7zr.properties import COMPRESSION_METHOD, MAGIC_7Z, PROPERTY
from py7zr.py7zr import ArchiveFile

from imagepipe.archive_parts import (
    Wanted,
    check_names,
    check_sizes,
    damage_in_one_line,
    refuse_special,
)
from imagepipe.errors import UserError, one_line

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

    `skipped` are the bytes of other files in front of each. Files without content are in no block,
    so there is no stream of theirs. If the block is `alone` in its archive, no other process can
    read along, and a thread unpacks while the files are used; beside other processes that would
    make both slower, by a sixth on two cores.
    """

    archive: Path
    names: list[str]
    sizes: list[int]
    checksums: list[int | None]
    skipped: list[int]
    stream: Stream | None
    alone: bool = False

    def read(self) -> Iterator[bytes]:
        if self.stream is None:
            yield from (b"" for _ in self.names)
            return
        with damage_in_one_line(self.archive):
            places = [size for pair in zip(self.skipped, self.sizes, strict=True) for size in pair]
            pieces = pieces_of(self.archive, self.stream)
            contents = cut(read_ahead(pieces) if self.alone else pieces, places)
            yield from islice(contents, 1, None, 2)


def seven_zip_parts(archive: Path, wanted: Wanted) -> Iterator[SevenZipPart]:
    """Yield a part for each block of a .7z archive that has files whose name is `wanted`.

    Raises `UserError` for an archive that is encrypted, or compressed in a way that py7zr does not
    know, and for its members as `archives.parts_of` does.
    """
    try:
        check_table(archive)
        with py7zr.SevenZipFile(archive) as file:
            if file.password_protected:
                raise PasswordRequired(None, "")
            yield from _parts(archive, file, wanted)
    except PasswordRequired:
        raise UserError(f"{archive}: is encrypted; pack it again without a password") from None
    except UnsupportedCompressionMethodError as error:
        raise UserError(
            f"{archive}: uses a compression that is not supported ({one_line(error.message)}); "
            "pack it again as LZMA2"
        ) from None


def check_table(archive: Path) -> None:
    """Refuse an archive whose table is compressed in a way that could end this process.

    py7zr unpacks the table before it tells how. 7-Zip itself compresses tables with LZMA alone.
    """
    with archive.open("rb") as file:
        if file.read(len(MAGIC_7Z)) != MAGIC_7Z:
            return  # which py7zr refuses
        start = SignatureHeader.retrieve(file)
        file.seek(start.nextheaderofs, os.SEEK_CUR)
        if file.read(1) != PROPERTY.ENCODED_HEADER:
            return
        size = min(start.nextheadersize, archive.stat().st_size)
        table = HeaderStreamsInfo.retrieve(io.BytesIO(file.read(size)))
    for block in table.unpackinfo.folders:
        refuse_methods(block.coders, UNSAFE | UNLIMITED)


def refuse_methods(coders: Iterable[dict[str, Any]], methods: Mapping[bytes, str]) -> None:
    """Raise `UnsupportedCompressionMethodError` for a block that is compressed by such a method."""
    for coder in coders:
        if coder["method"] in methods:
            raise UnsupportedCompressionMethodError(None, methods[coder["method"]])


def _parts(archive: Path, file: py7zr.SevenZipFile, wanted: Wanted) -> Iterator[SevenZipPart]:
    is_file = _FileType(archive)
    # Its own objects for members would take as long as the whole table does.
    members = file.files.files_list
    files = [member for member in members if is_file(member)]
    check_names(archive, (member["filename"] for member in files))
    check_sizes(archive, ((member["filename"], member["uncompressed"]) for member in files))

    without_content = [m["filename"] for m in files if m["emptystream"] and wanted(m["filename"])]
    if without_content:
        count = len(without_content)
        yield SevenZipPart(archive, without_content, [0] * count, [None] * count, [0] * count, None)
    streams = list(_streams(file))
    for block, stream in streams:
        part = SevenZipPart(archive, [], [], [], [], stream, alone=len(streams) == 1)
        skipped = 0
        for member in block.files.files_list if block.files else ():
            if is_file(member) and wanted(member["filename"]):
                part.names.append(member["filename"])
                part.sizes.append(member["uncompressed"])
                part.checksums.append(member.get("digest"))
                part.skipped.append(skipped)
                skipped = 0
            else:
                skipped += member["uncompressed"]
        if part.names:
            # Fails here for a method that isn't known, before anything has been written.
            _decompressor(stream)
            yield part


class _FileType:
    """Tells files from folders, and refuses what is neither.

    It depends on a member's attributes alone, which are the same for almost all members.
    """

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.known: dict[int | None, bool] = {}

    def __call__(self, member: Any) -> bool:
        attributes = member.get("attributes")
        if attributes not in self.known:
            one = ArchiveFile(0, member)
            if not (one.is_file or one.is_directory):
                refuse_special(self.archive, one.filename)
            self.known[attributes] = one.is_file
        return self.known[attributes]


def _streams(file: py7zr.SevenZipFile) -> Iterator[tuple[Any, Stream]]:
    """Yield py7zr's object and the stream of each block."""
    streams = getattr(file.header, "main_streams", None)
    if streams is None:
        return
    blocks = streams.unpackinfo.folders
    sizes = streams.packinfo.packsizes
    if len(blocks) != len(sizes):
        raise UnsupportedCompressionMethodError(None, "several streams in a block")
    for block, start, size in zip(blocks, streams.packinfo.packpositions, sizes, strict=False):
        yield (
            block,
            Stream(
                file.afterheader + start,
                size,
                block.get_unpack_size(),
                list(block.unpacksizes),
                block.coders,
                block.crc,
            ),
        )


def _decompressor(stream: Stream) -> SevenZipDecompressor:
    refuse_methods(stream.coders, UNSAFE)
    unlimited = any(coder["method"] in UNLIMITED for coder in stream.coders)
    return SevenZipDecompressor(
        stream.coders,
        stream.packed_size,
        stream.sizes_after_coders,
        stream.checksum,
        blocksize=READ_OF_UNLIMITED if unlimited else None,
    )


def pieces_of(archive: Path, stream: Stream) -> Iterator[bytes]:
    """Yield the content of a block in pieces."""
    left = stream.unpacked_size
    decompressor = _decompressor(stream)
    with archive.open("rb") as packed:
        packed.seek(stream.offset)
        while left > 0:
            place = packed.tell()
            piece = bytes(decompressor.decompress(packed, min(left, PIECE_SIZE)))
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


def cut(pieces: Iterator[bytes], sizes: list[int]) -> Iterator[bytes]:
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
