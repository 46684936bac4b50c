"""Images as rows of CSV files: a column for each pixel, or all pixels in one column of text."""

import csv
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path

import numpy as np

from imagepipe.archives.chunk import Chunk
from imagepipe.archives.safety import check_names
from imagepipe.config.dataset import PixelTables
from imagepipe.errors import UserError, nearest, quoted
from imagepipe.files import is_image, nfc

ROWS_PER_CHUNK = 2_000
SEPARATORS = (",", ";", "\t", "|")
PIXEL = re.compile(r"pixel[_ ]?([0-9]+)|([0-9]+)x([0-9]+)", re.IGNORECASE)
LONGEST_HEADER = 1 << 22
PNG_START = b"\x89PNG\r\n\x1a\n"
# A PNG file's types of color, by the number of channels.
COLOR_TYPES = {1: 0, 3: 2}


@dataclass(frozen=True)
class Columns:
    """The columns of a table: `pixels` are the positions of those with one pixel each.

    If it is empty, `text` is the position of the column with all pixels.
    """

    separator: bytes
    count: int
    pixels: tuple[int, ...]
    text: int
    id: int | None
    where: tuple[tuple[int, bytes], ...]
    encoding: str = "utf-8"


@dataclass(frozen=True)
class PixelChunk(Chunk):
    """Some rows of a table, as PNG files "SPLIT/ID.png" of height, width and channels `shape`.

    `lines` are the lines of the rows, from 1, and `offset` the first one's, in bytes.
    """

    columns: Columns
    lines: list[int]
    offset: int
    shape: tuple[int, int, int]

    def contents(self) -> Iterator[bytes]:
        expected = self.shape[0] * self.shape[1] * self.shape[2]
        wanted = iter(self.lines)
        upcoming = next(wanted)
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            for number, line in enumerate(file, start=upcoming):
                if number != upcoming:
                    continue
                text, separator = pixels_of(self.archive, number, line, self.columns)
                pixels = parsed(self.archive, number, text, separator)
                if len(pixels) != expected:
                    raise UserError(
                        f"{self.archive}: row {number}: {len(pixels):,} pixels, where the first "
                        f"image has {expected:,}; correct the row"
                    )
                yield png(pixels, self.shape)
                if (following := next(wanted, None)) is None:
                    return
                upcoming = following
        raise UserError(f"{self.archive}: has changed while it was read; run again")


def pixel_chunks(
    tables: PixelTables,
    files: Mapping[str, Path],
    image_size: list[int] | None,
    encoding: str = "utf-8",
) -> Iterator[PixelChunk]:
    """Yield the images of the tables for training and testing.

    `files` are the tables' files by name. `image_size` is height and width; None: the images are
    squares. An image has one channel, or three next to each other for each pixel. Raises
    `UserError` for a table without such columns, rows or ids.
    """
    test_ids = tables.test_id_column or tables.id_column
    for split, name, where, ids in (
        ("train", tables.train, tables.train_where, tables.id_column),
        ("test", tables.test, tables.test_where, test_ids),
    ):
        columns = read_columns(files[name], tables, where, ids, encoding)
        yield from _chunks(files[name], split, columns, image_size)


def read_columns(
    file: Path,
    tables: PixelTables,
    where: Mapping[str, str],
    ids: str | None,
    encoding: str = "utf-8",
) -> Columns:
    """Read a table's header. Raises `UserError` if it lacks a column, or has it twice."""
    with file.open("rb") as content:
        line = content.readline(LONGEST_HEADER)
    try:
        text = line.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError:
        raise UserError(f"{file}: row 1: {not_text(encoding)}") from None
    separator = max(SEPARATORS, key=text.count)
    header = [name.strip() for name in next(csv.reader([text], delimiter=separator), [])]

    def position(name: str) -> int:
        if header.count(name) == 1:
            return header.index(name)
        problem = "there twice" if name in header else "not there"
        raise UserError(
            f"{file}: row 1: the column {name!r} is {problem}{nearest(name, header)}; correct "
            "the header, or the column's name in the dataset file"
        )

    pixels: tuple[int, ...] = ()
    if tables.column is None:
        found = [(match, n) for n, name in enumerate(header) if (match := PIXEL.fullmatch(name))]
        # By number, of which those of a form such as 28x28 have two.
        order = sorted(found, key=lambda one: [int(digits) for digits in one[0].groups("0")])
        pixels = tuple(n for _, n in order)
        if not pixels:
            raise UserError(
                f"{file}: row 1: there are no columns pixel0, pixel1 and so on (found: "
                f"{quoted(', '.join(header))}); name the column of all pixels as pixels: column in "
                "the dataset file, or correct the header"
            )
    return Columns(
        separator.encode(),
        len(header),
        pixels,
        position(tables.column) if tables.column is not None else -1,
        position(ids) if ids is not None else None,
        tuple((position(name), value.strip().encode(encoding)) for name, value in where.items()),
        encoding,
    )


def not_text(encoding: str) -> str:
    """Return what is wrong with a row that is not in this encoding, and what to do."""
    return f"is not {encoding.upper()} text; save it as UTF-8, or set encoding in the dataset file"


def split_row(file: Path, number: int, line: bytes, columns: Columns) -> list[bytes]:
    """Return a row's fields. Raises `UserError` if they are not as many as the header's."""
    if b'"' in line:
        text = line.decode("utf-8", "surrogateescape")
        row = next(csv.reader([text], delimiter=columns.separator.decode()), [])
        fields = [field.encode("utf-8", "surrogateescape") for field in row]
    else:
        fields = line.rstrip(b"\r\n").split(columns.separator)
    if len(fields) != columns.count:
        raise UserError(
            f"{file}: row {number}: {len(fields):,} fields where the header has "
            f"{columns.count:,}; correct the row"
        )
    return fields


def pixels_of(file: Path, number: int, line: bytes, columns: Columns) -> tuple[bytes, str]:
    """Return a row's pixels as text, and what separates them: a space stands for any space."""
    pixels, separator = columns.pixels, columns.separator
    if not pixels:
        return split_row(file, number, line, columns)[columns.text], " "
    first, after = pixels[0], columns.count - pixels[-1] - 1
    if (
        pixels == tuple(range(first, first + len(pixels)))
        and b'"' not in line
        and line.count(separator) == columns.count - 1
    ):
        # Much faster than to split the whole row.
        text = line.rstrip(b"\r\n").split(separator, first)[first]
        return text.rsplit(separator, after)[0] if after else text, separator.decode()
    fields = split_row(file, number, line, columns)
    return b",".join([fields[position] for position in pixels]), ","


def parsed(file: Path, number: int, text: bytes, separator: str) -> bytes:
    """Return pixels from text. Raises `UserError` for what is no whole number in 0...255."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # for text that NumPy cannot read to its end
        try:
            values = np.fromstring(text, np.int32, sep=separator)
        except (DeprecationWarning, ValueError):
            values = np.empty(0, np.int32)
    if len(values) and values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8).tobytes()
    pixels = bytearray()
    for position, value in enumerate(text.split(None if separator == " " else separator.encode())):
        try:
            pixel = float(value)
        except ValueError:
            pixel = -1
        if not (0 <= pixel <= 255 and pixel == int(pixel)):
            shown = quoted(value.decode("utf-8", "replace"))
            raise UserError(
                f"{file}: row {number}: pixel {position} is {shown}, but must be a whole number "
                "in 0...255; correct the row"
            )
        pixels.append(int(pixel))
    return bytes(pixels)


def png(pixels: bytes, shape: tuple[int, int, int]) -> bytes:
    """Return a PNG file of pixels of height, width and channels `shape`, uncompressed."""
    height, width, channels = shape
    length = width * channels
    # Each row is led by its filter, which is none.
    rows = b"".join(
        b"\0" + pixels[start : start + length] for start in range(0, height * length, length)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, COLOR_TYPES[channels], 0, 0, 0)
    blocks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return PNG_START + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))
        for name, content in blocks
    )


def _chunks(
    file: Path, split: str, columns: Columns, image_size: list[int] | None
) -> Iterator[PixelChunk]:
    """Yield the wanted rows of a table."""
    names: list[str] = []
    lines: list[int] = []
    offsets: list[int] = []
    shape: tuple[int, int, int] | None = None
    count = 0
    with file.open("rb") as content:
        offset = len(content.readline())
        for number, line in enumerate(content, start=2):
            start, offset = offset, offset + len(line)
            # As `read_table` does, with which rows are numbered alike.
            if not line.strip(columns.separator + b' \t\r\n"'):
                continue
            count += 1
            if shape is None or columns.where or columns.id is not None:
                fields = split_row(file, number, line, columns)
                if any(fields[n].strip() != value for n, value in columns.where):
                    continue
                if shape is None:
                    values = len(columns.pixels) or len(fields[columns.text].split())
                    shape = shape_of(file, values, image_size)
            image_id = (
                str(count)
                if columns.id is None
                else id_of(file, number, fields[columns.id], columns)
            )
            names.append(f"{split}/{image_id}.png")
            lines.append(number)
            offsets.append(start)
    if shape is None:
        raise UserError(
            f"{file}: has no rows for {split} images; correct {split} or {split}_where below "
            "pixels in the dataset file"
        )
    check_names(file, names)
    for first in range(0, len(names), ROWS_PER_CHUNK):
        rows = slice(first, first + ROWS_PER_CHUNK)
        unknown = [None] * len(names[rows])
        yield PixelChunk(
            file, names[rows], unknown, unknown, columns, lines[rows], offsets[first], shape
        )


def id_of(file: Path, number: int, field: bytes, columns: Columns) -> str:
    """Return the id of a row, which may be written as a file's name."""
    try:
        image_id = nfc(field.decode(columns.encoding).strip())
    except UnicodeDecodeError:
        raise UserError(f"{file}: row {number}: {not_text(columns.encoding)}") from None
    if is_image(image_id):
        image_id = image_id.rpartition(".")[0]
    if not image_id or len(image_id) > 200:
        raise UserError(f"{file}: row {number}: {quoted(image_id)} is no id; correct the row")
    return image_id


def shape_of(file: Path, count: int, image_size: list[int] | None) -> tuple[int, int, int]:
    """Return the height, width and channels of images of `count` pixels, or values of pixels."""
    for channels in COLOR_TYPES:
        if image_size is not None:
            height, width = image_size
        else:
            height = width = isqrt(count // channels)
        if count == height * width * channels and count:
            return height, width, channels
    if image_size is not None:
        raise UserError(
            f"{file}: an image has {count:,} pixels, which is not image_size, {height}×{width}; "
            "correct image_size in the dataset file"
        )
    raise UserError(
        f"{file}: an image has {count:,} pixels, which make no square; set image_size in the "
        "dataset file to [height, width]"
    )
