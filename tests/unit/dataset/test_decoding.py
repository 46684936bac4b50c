"""Single images: every pixel as Pillow decodes it, and bad images refused."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from builders import pixels, png_bytes
from imagepipe.dataset.decoding import BadImage, decode
from imagepipe.dataset.fitting import Target


def exactly(height: int, width: int | None = None) -> Target:
    return Target(height, width or height, exact=True)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_pixels_are_those_that_pillow_decodes(mode: str) -> None:
    content = png_bytes(7, mode=mode)
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == mode
        expected = np.asarray(image.convert("RGB"))
    decoded, kind = decode(content, exactly(32))
    assert decoded == expected.tobytes()
    assert kind == f"PNG {mode} 32×32"


def saved_as(kind: str, image: Image.Image | None = None) -> bytes:
    content = io.BytesIO()
    (image or Image.fromarray(pixels(1))).save(content, format=kind)
    return content.getvalue()


def test_jpeg_files_are_decoded() -> None:
    content = saved_as("JPEG")
    decoded, kind = decode(content, exactly(32))
    with Image.open(io.BytesIO(content)) as image:
        assert decoded == np.asarray(image).tobytes()
    assert kind == "JPEG RGB 32×32"


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def rows(filters: list[int]) -> bytes:
    """Return 32 rows of an image's data, each with one of PNG's filters."""
    draw = np.random.default_rng(0)
    return b"".join(bytes([f]) + draw.bytes(96) for f in filters)


def plain_png(*data: bytes, between: bytes = b"") -> bytes:
    """Return a PNG file whose data is split into chunks."""
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0))
    chunks = b"".join(chunk(b"IDAT", one) for one in data)
    return head + between + chunks + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "between", [b"", chunk(b"tEXt", b"Comment\0x"), chunk(b"gAMA", b"\0\0\1\0")]
)
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_every_filter_and_any_number_of_chunks_are_read_as_pillow_reads_them(
    parts: int, between: bytes
) -> None:
    data = zlib.compress(rows([n % 5 for n in range(32)]))
    cuts = [len(data) * n // parts for n in range(parts + 1)]
    pieces = [data[start:stop] for start, stop in pairwise(cuts)]
    content = plain_png(*pieces, between=between)
    with Image.open(io.BytesIO(content)) as image:
        assert decode(content, exactly(32))[0] == image.convert("RGB").tobytes()


@pytest.mark.parametrize(
    "content",
    [
        plain_png(),
        plain_png(b"no zlib stream"),
        plain_png(zlib.compress(rows([0] * 31 + [7]))),
        plain_png(zlib.compress(rows([0] * 32))[:-20]),
        plain_png(zlib.compress(rows([0] * 32))).replace(b"IDAT", b"IDAZ"),
    ],
    ids=["no data", "not compressed", "no such filter", "cut", "no IDAT"],
)
def test_plain_png_with_bad_data_is_refused(content: bytes) -> None:
    with pytest.raises(BadImage, match="readable"):
        decode(content, exactly(32))


def test_flipped_bits_of_a_png_never_pass() -> None:
    content = png_bytes(3)
    right = decode(content, exactly(32))[0]
    draw = random.Random(0)
    passed = 0
    for _ in range(2_000):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        try:
            assert decode(bytes(damaged), exactly(32))[0] == right
            passed += 1
        except BadImage:
            pass
    assert passed < 100


def huge() -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    content = bytearray(png_bytes(1))
    content[12:33] = header + struct.pack(">I", zlib.crc32(header))
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: b"", ["readable"]),
        (lambda: b"id,label\n1,cat\n", ["readable"]),
        (lambda: png_bytes(1)[:20], ["readable"]),
        (lambda: png_bytes(1)[:500], ["readable"]),
        (lambda: png_bytes(1)[:-100], ["readable"]),
        (lambda: png_bytes(1)[:60] + b"\0" * 3000, ["readable"]),
        (lambda: png_bytes(1, size=28), ["28×28", "32×32", "image_size"]),
        (lambda: saved_as("PNG", Image.new("RGB", (32, 31))), ["32×31", "32×32"]),
        (lambda: saved_as("PPM"), ["PNG"]),
        (lambda: saved_as("ICO"), ["PNG"]),
        (huge, ["60000×60000|DecompressionBomb"]),
    ],
    ids=[
        "empty",
        "text",
        "cut in the header",
        "cut in the middle",
        "cut near the end",
        "damaged",
        "smaller",
        "not square",
        "PPM",
        "ICO",
        "claims to be huge",
    ],
)
def test_what_is_no_image_of_the_size_is_refused(
    content: Callable[[], bytes], words: list[str]
) -> None:
    for word in words:
        with pytest.raises(BadImage, match=word):
            decode(content(), exactly(32))


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA"])
def test_byte_that_is_put_in_anywhere_never_changes_a_pixel(mode: str) -> None:
    """It moves the checksum of the pixels out of their data, where Pillow does not miss it."""
    content = png_bytes(3, size=8, mode=mode)
    right = decode(content, exactly(8))[0]
    for place in range(len(content)):
        for byte in (b"\0", b"\x18", b"\xff"):
            try:
                assert decode(content[:place] + byte + content[place:], exactly(8))[0] == right
            except BadImage:
                continue
