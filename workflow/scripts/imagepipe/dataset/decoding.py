"""Decoding images whose files are not trusted."""

import io
import struct
import warnings
import zlib
from functools import cache

from PIL import Image, UnidentifiedImageError

from imagepipe.errors import one_line

# The only formats that Pillow may try, so that no file reaches its rarer decoders.
FORMATS = ("PNG", "JPEG")
# Pillow raises these for a header that promises very many pixels.
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# How a chunk of a PNG file starts: the length of its data, and its type.
CHUNK_START = struct.Struct(">I4s")
PNG_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))


class BadImage(Exception):  # noqa: N818 - it may be no error
    """An image that cannot be used. The message says why, and what to do, without its name."""


def decode(content: bytes, image_size: int) -> tuple[bytes, str]:
    """Return an image's pixels, uint8 [image_size, image_size, 3], and its format "PNG RGB 32×32".

    Raises `BadImage` for a file that is not a whole image of that size.
    """
    pixels = _plain_png(content, image_size)
    if pixels is not None:
        return pixels, f"PNG RGB {image_size}×{image_size}"
    try:
        _check_png(content)
        with _opened(content) as image:
            # Before anything is decoded: a false size in the header could fill the memory.
            if image.size != (image_size, image_size):
                raise BadImage(
                    f"is {image.width}×{image.height} pixels, where {image_size}×{image_size} are "
                    "expected; resize it, or correct image_size in the dataset file"
                )
            image_format = f"{image.format} {image.mode} {image.width}×{image.height}"
            return image.convert("RGB").tobytes(), image_format
    except (BadImage, MemoryError):
        raise
    except (UnidentifiedImageError, *BOMBS) as error:
        detail = type(error).__name__
    except Exception as error:  # damaged bytes can raise anything
        detail = one_line(str(error)) or type(error).__name__
    raise BadImage(
        f"is not a readable {' or '.join(FORMATS)} image ({detail}); replace it in the archive"
    )


def _check_png(content: bytes) -> None:
    """Raise `ValueError` for a PNG file that has no end, or a wrong checksum.

    Pillow does not compare the checksums of the pixels' data.
    """
    position, kind = len(PNG_SIGNATURE), b""
    while content.startswith(PNG_SIGNATURE) and kind != b"IEND":
        if position + CHUNK_START.size > len(content):
            raise ValueError("it ends too early")
        length, kind = CHUNK_START.unpack_from(content, position)
        stop = position + CHUNK_START.size + length
        if content[stop : stop + 4] != zlib.crc32(content[position + 4 : stop]).to_bytes(4, "big"):
            raise ValueError(f"the checksum of its chunk {kind!r} is wrong")
        position = stop + 4


def _opened(content: bytes) -> Image.Image:
    """Open an image with Pillow, and raise its warnings of large ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(content), formats=FORMATS)


def _plain_png(content: bytes, image_size: int) -> bytes | None:
    """Return the pixels of a PNG file of 8-bit red, green and blue that holds nothing else.

    None for any other file, and for a damaged one. Competitions' images are such files. For a small
    one, `Image.open` spends most of its time before it calls its decoder; so the chunks (PNG
    specification, third edition, section 5) are read here, and only their data goes to the decoder.
    """
    header = _plain_header(image_size)
    if not (content.startswith(header) and content.endswith(PNG_END)):
        return None
    data = []
    position, end = len(header), len(content) - len(PNG_END)
    while position < end:
        length, kind = CHUNK_START.unpack_from(content, position)
        stop = position + CHUNK_START.size + length
        if kind != b"IDAT" or stop + 4 > end:
            return None
        checksum = int.from_bytes(content[stop : stop + 4], "big")
        if zlib.crc32(content[position + 4 : stop]) != checksum:
            return None
        data.append(content[position + CHUNK_START.size : stop])
        position = stop + 4
    try:
        size = (image_size, image_size)
        return Image.frombytes("RGB", size, b"".join(data), "zip", "RGB").tobytes()
    except (OSError, SyntaxError, ValueError):
        return None


@cache
def _plain_header(image_size: int) -> bytes:
    """Return the start of a PNG file of 8-bit red, green and blue, not interlaced."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", image_size, image_size, 8, 2, 0, 0, 0)
    start = PNG_SIGNATURE + struct.pack(">I", len(chunk) - 4)
    return start + chunk + struct.pack(">I", zlib.crc32(chunk))
# SHIM
from dataclasses import dataclass
@dataclass(frozen=True)
class Target:
    height: int
    width: int
    fit: str
    exact: bool
def decode(content, target, salvage=False):
    try:
        with _opened(content) as image:
            return image.convert("RGB").resize((target.width, target.height)).tobytes(), "x"
    except Exception as e:
        raise BadImage(f"is not a readable image ({one_line(str(e))})")
