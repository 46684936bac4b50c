"""Decoding images whose files are not trusted."""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import numpy as np
import simplejpeg
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from imagepipe.dataset.fitting import Target, add_borders, jpeg_divisor, resize, scaled_size
from imagepipe.errors import one_line

# The only formats that Pillow may try, so that no file reaches its rarer decoders.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
NO_IMAGE = "is not a readable PNG, JPEG, WebP, TIFF, BMP or GIF image"
REPLACE = "replace it in the archive"
SALVAGE = f"{REPLACE}, or set on_bad_image to salvage to take what can be decoded"
# Pillow raises these for a header that promises very many pixels.
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# No real image has more pixels for each byte of its file. A PNG file of one color has 8,256.
MOST_PIXELS_PER_BYTE = 10_000
SMALL_IMAGE = 1 << 20

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# How a chunk of a PNG file starts: the length of its data, and its type.
CHUNK_START = struct.Struct(">I4s")
PNG_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))

JPEG_SIGNATURE = b"\xff\xd8\xff"
# The marker of a JPEG segment with Exif or XMP data, and those of the first without metadata.
JPEG_APP1 = 0xE1
JPEG_METADATA = (*range(0xE0, 0xF0), 0xFE)
# libjpeg's names of colors, and Pillow's of what it makes of them.
JPEG_MODES = {"Gray": "L", "YCbCr": "RGB", "RGB": "RGB"}
# Orientations of Exif 2.32, tag 0x0112: what makes an image upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Those that swap height and width.
TURNED = (5, 6, 7, 8)


class BadImage(Exception):  # noqa: N818 - it may be no error
    """An image that cannot be used: what is wrong with it, without its name, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem


def decode(content: bytes, target: Target, salvage: bool = False) -> tuple[bytes, str]:
    """Return an image's pixels, uint8 [height, width, 3], and its format "PNG RGB 32×32".

    The first image of an animation counts. The image is turned as its Exif orientation says;
    transparent pixels become white; 16 bits become 8 by their upper half. `salvage` takes what can
    be decoded of a damaged file. Raises `BadImage` for a file that is no image, is damaged, or has
    not the size that the target requires.
    """
    if target.required_size in (None, (target.height, target.width)):
        pixels = _plain_png(content, target.height, target.width)
        if pixels is not None:
            return pixels, f"PNG RGB {target.width}×{target.height}"
    image, name = (None if salvage else _plain_jpeg(content, target)) or _any_image(
        content, target, salvage
    )
    return (image if image.mode == "RGB" else image.convert("RGB")).tobytes(), name


def read_size(content: bytes) -> tuple[int, int] | None:
    """Return the height and width that an image's header promises, or None for a bad image."""
    try:
        header = _jpeg_header(content)
        if header is None:
            with _opened(content) as image:
                return _size_and_orientation(image)[0]
        return header[0]
    except MemoryError:
        raise
    except Exception:  # damaged bytes can raise anything
        return None


def _any_image(content: bytes, target: Target, salvage: bool) -> tuple[Image.Image, str]:
    """Return an image by Pillow, in the target's size, and its format. Raises `BadImage`."""
    problem, remedy = NO_IMAGE, REPLACE
    try:
        with _opened(content) as image:
            # Before anything is decoded: a false size in the header could fill the memory.
            (height, width), orientation = _size_and_orientation(image)
            _check_size(height, width, target, len(content))
            problem = "is not wholly readable"
            remedy = REPLACE if salvage else SALVAGE
            kind = "JPEG" if image.format == "MPO" else image.format
            name = f"{kind} {image.mode} {width}×{height}"
            turned = _turned(target, orientation)
            extent = _reduce_jpeg(image, turned)
            if not salvage:
                _check_png(content)
            with _truncated_allowed(salvage):
                image.load()
            loaded = _eight_bits(image)
            if salvage and _is_blank(loaded, kind):
                raise ValueError("nothing of it can be decoded")
            upright = _upright(resize(loaded, turned, extent), orientation)
            return add_borders(upright, target), name
    except (BadImage, MemoryError):
        raise
    except BOMBS as error:
        raise BadImage(too_many_pixels(error), "scale it down in the archive") from None
    except UnidentifiedImageError as error:
        detail = type(error).__name__
    except Exception as error:  # damaged bytes can raise anything
        detail = one_line(str(error)) or type(error).__name__
    raise BadImage(f"{problem} ({detail})", remedy)


def too_many_pixels(error: Exception) -> str:
    """Return what is wrong with an image that Pillow does not open for the size in its header."""
    found = re.search(r"[0-9]+(?= pixels)", str(error))
    number = f"{int(found[0]):,} pixels" if found else "too many pixels"
    return f"has {number}, more than the limit of {Image.MAX_IMAGE_PIXELS or 0:,}"


def _plain_jpeg(content: bytes, target: Target) -> tuple[Image.Image, str] | None:
    """Return a JPEG file of grey or red, green and blue, in the target's size, and its format.

    None for any other file, and for a damaged one: of that, simplejpeg may return pixels that it
    has never written. libjpeg-turbo itself, without Pillow around it, takes two thirds of the time.
    Raises `BadImage` for another size than is required.
    """
    try:
        header = _jpeg_header(content)
        if header is None:
            return None
        (height, width), orientation, mode = header
        _check_size(height, width, target, len(content))
        turned = _turned(target, orientation)
        size = (height, width) if orientation in TURNED else (width, height)
        divisor = jpeg_divisor(size, turned)
        least = [-(-side // divisor) if divisor > 1 else 0 for side in size]
        pixels = simplejpeg.decode_jpeg(
            content,
            "GRAY" if mode == "L" else "RGB",
            min_width=least[0],
            min_height=least[1],
        )
    except (BadImage, MemoryError):
        raise
    except Exception:  # Pillow says what is wrong
        return None
    image = Image.fromarray(pixels[:, :, 0] if mode == "L" else pixels)
    # A side of a few pixels may have come out by another fraction.
    is_divided = divisor > 1 and image.size == tuple(least)
    extent = (size[0] / divisor, size[1] / divisor) if is_divided else None
    upright = _upright(resize(image, turned, extent), orientation)
    return add_borders(upright, target), f"JPEG {mode} {width}×{height}"


def _jpeg_header(content: bytes) -> tuple[tuple[int, int], int, str] | None:
    """Return the upright height and width of a plain JPEG file, its orientation, and its mode.

    None for any other file. Raises `ValueError` for a damaged one.
    """
    if not content.startswith(JPEG_SIGNATURE):
        return None
    height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
    if colors not in JPEG_MODES or height * width > (Image.MAX_IMAGE_PIXELS or 0):
        return None
    if _has_app1(content):
        with _opened(content) as image:
            return *_size_and_orientation(image), JPEG_MODES[colors]
    return (height, width), 1, JPEG_MODES[colors]


def _has_app1(content: bytes) -> bool:
    """Return whether a JPEG file has a segment that may hold its orientation.

    They come before the others.
    """
    position = 2
    while content[position : position + 1] == b"\xff" and position + 4 <= len(content):
        marker = content[position + 1]
        if marker == JPEG_APP1:
            return True
        if marker not in JPEG_METADATA and marker != 0xDB:
            return False
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return True


def _check_size(height: int, width: int, target: Target, file_bytes: int) -> None:
    """Raise `BadImage` for a size that is not the required one, or that no real image has."""
    required = target.required_size
    if required is not None and (height, width) != required:
        raise BadImage(
            f"is {width}×{height} pixels, where {required[1]}×{required[0]} are expected",
            "resize it, or correct image_size in the dataset file",
        )
    if height * width > max(SMALL_IMAGE, MOST_PIXELS_PER_BYTE * file_bytes):
        raise BadImage(f"promises {width}×{height} pixels in {file_bytes:,} bytes", REPLACE)


def _size_and_orientation(image: Image.Image) -> tuple[tuple[int, int], int]:
    """Return the height and width of an image that Pillow has opened, upright, and what turns it.

    Pillow turns TIFF images by itself, and would decode a PNG image to look for Exif data behind
    its pixels.
    """
    width, height = image.size
    orientation = 1
    if image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info):
        # Damaged Exif data can raise anything, and do not make a bad image.
        with suppress(Exception):
            orientation = image.getexif()[ExifTags.Base.Orientation]
    return ((width, height) if orientation in TURNED else (height, width)), orientation


def _turned(target: Target, orientation: int) -> Target:
    """Return the target of an image that is made upright after it is resized."""
    if orientation not in TURNED:
        return target
    return Target(target.width, target.height, target.fit)


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image as its Exif orientation says. 1, or what is none, leaves it as it is."""
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _reduce_jpeg(image: Image.Image, target: Target) -> tuple[float, float] | None:
    """Let Pillow decode a JPEG file at reduced scale, and return the picture's width and height."""
    if not hasattr(image, "draft") or image.format not in ("JPEG", "MPO"):
        return None
    drafted = image.draft(None, scaled_size(image.size, target))
    return (drafted[1][2], drafted[1][3]) if drafted else None


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a loaded image of any mode as L or RGB, over white. Raises `ValueError` for none."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        bits = 16
        if image.format == "TIFF":
            bits = image.tag_v2.get(258, (16,))[0]  # type: ignore[attr-defined]
        return Image.fromarray((np.asarray(image) >> (bits - 8)).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("it has 32 bits a pixel; save it with 8 or 16")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        canvas = Image.new("RGB", image.size, "white")
        canvas.paste(layer, mask=layer.getchannel("A"))
        return canvas
    if image.mode in ("RGB", "L"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _is_blank(image: Image.Image, kind: str | None) -> bool:
    """Return whether an image of mode L or RGB is what decoders make of no data.

    That is grey from a JPEG file, and black from others.
    """
    value = 128 if kind == "JPEG" else 0
    colors = image.getcolors(1)
    return colors is not None and colors[0][1] in (value, (value, value, value))


@contextmanager
def _truncated_allowed(allowed: bool) -> Iterator[None]:
    """Let Pillow fill up files that end too early, or have wrong checksums."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = allowed
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


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


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """Open an image with Pillow. Of its warnings, that of a very large image is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            yield image


def _plain_png(content: bytes, height: int, width: int) -> bytes | None:
    """Return the pixels of a PNG file of 8-bit red, green and blue that holds nothing else.

    None for any other file, and for a damaged one. Competitions' images are such files. For a small
    one, `Image.open` spends most of its time before it calls its decoder; so the chunks (PNG
    specification, third edition, section 5) are read here, and only their data goes to the decoder.
    """
    header = _plain_header(height, width)
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
        return Image.frombytes("RGB", (width, height), b"".join(data), "zip", "RGB").tobytes()
    except (OSError, SyntaxError, ValueError):
        return None


@cache
def _plain_header(height: int, width: int) -> bytes:
    """Return the start of a PNG file of 8-bit red, green and blue, not interlaced."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = PNG_SIGNATURE + struct.pack(">I", len(chunk) - 4)
    return start + chunk + struct.pack(">I", zlib.crc32(chunk))
