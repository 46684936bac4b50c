"""Decoding images whose files are not trusted."""

import io
import struct
import warnings
import zlib
from functools import cache

from PIL import Image, UnidentifiedImageError

from imagepipe.errors import one_line

# Pillow is told what to expect, so that a file from outside reaches none of its rarer decoders.
FORMATS = ("PNG", "JPEG")
# What Pillow has to say of a header that promises very many pixels.
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Of a chunk of a PNG file: the length of its data, and its type.
CHUNK_START = struct.Struct(">I4s")
PNG_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))


class BadImage(Exception):  # noqa: N818 - it may be no error
    """An image that cannot be used. The message says why, and what to do, without its name."""


def decode(content: bytes, image_size: int) -> tuple[bytes, str]:
    """Return an image's pixels, and what it was: "PNG RGB 32×32".

    The pixels are image_size² times red, green, blue, from left to right and from the top down.
    Raises `BadImage` for what is not a whole image of that size.
    """
    pixels = _plain_png(content, image_size)
    if pixels is not None:
        return pixels, f"PNG RGB {image_size}×{image_size}"
    try:
        _check_png(content)
        with _opened(content) as image:
            # Before anything is decoded: the size in the header may be a lie that fills the memory.
            if image.size != (image_size, image_size):
                raise BadImage(
                    f"is {image.width}×{image.height} pixels, where {image_size}×{image_size} are "
                    "expected; resize it, or correct image_size in the dataset file"
                )
            kind = f"{image.format} {image.mode} {image.width}×{image.height}"
            return image.convert("RGB").tobytes(), kind
    except (BadImage, MemoryError):
        raise
    except (UnidentifiedImageError, *BOMBS) as error:
        detail = type(error).__name__
    except Exception as error:  # whatever bytes that are not trusted can bring about
        detail = one_line(str(error)) or type(error).__name__
    raise BadImage(
        f"is not a readable {' or '.join(FORMATS)} image ({detail}); replace it in the archive"
    )


def _check_png(content: bytes) -> None:
    """Raise `ValueError` for a PNG file that has no end, or a wrong checksum.

    Pillow passes over the checksums of the pixels' data.
    """
    place, kind = len(PNG_SIGNATURE), b""
    while content.startswith(PNG_SIGNATURE) and kind != b"IEND":
        if place + CHUNK_START.size > len(content):
            raise ValueError("it ends too early")
        length, kind = CHUNK_START.unpack_from(content, place)
        stop = place + CHUNK_START.size + length
        if content[stop : stop + 4] != zlib.crc32(content[place + 4 : stop]).to_bytes(4, "big"):
            raise ValueError(f"the checksum of its chunk {kind!r} is wrong")
        place = stop + 4


def _opened(content: bytes) -> Image.Image:
    """Open an image with Pillow, which is not to print its warnings of large ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(content), formats=FORMATS)


def _plain_png(content: bytes, image_size: int) -> bytes | None:
    """Return the pixels of a PNG file of 8-bit red, green and blue that holds nothing else.

    Competitions' images are such files, and most of the time that `Image.open` takes for a small
    one goes by before its decoder is called. So the chunks (PNG specification, third edition,
    section 5) are read here, and only their data goes to the decoder. None for any other file, and
    for a damaged one.
    """
    header = _plain_header(image_size)
    if not (content.startswith(header) and content.endswith(PNG_END)):
        return None
    data = []
    place, end = len(header), len(content) - len(PNG_END)
    while place < end:
        length, kind = CHUNK_START.unpack_from(content, place)
        stop = place + CHUNK_START.size + length
        if kind != b"IDAT" or stop + 4 > end:
            return None
        checksum = int.from_bytes(content[stop : stop + 4], "big")
        if zlib.crc32(content[place + 4 : stop]) != checksum:
            return None
        data.append(content[place + CHUNK_START.size : stop])
        place = stop + 4
    try:
        size = (image_size, image_size)
        return Image.frombytes("RGB", size, b"".join(data), "zip", "RGB").tobytes()
    except (OSError, SyntaxError, ValueError):
        return None


@cache
def _plain_header(image_size: int) -> bytes:
    """Return how a PNG file of 8-bit red, green and blue begins that is not interlaced."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", image_size, image_size, 8, 2, 0, 0, 0)
    start = PNG_SIGNATURE + struct.pack(">I", len(chunk) - 4)
    return start + chunk + struct.pack(">I", zlib.crc32(chunk))
