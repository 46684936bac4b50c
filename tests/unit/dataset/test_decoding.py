"""Single images: every pixel as Pillow decodes it, and bad images refused."""

import contextlib
import io
import random
import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from PIL import Image

from builders import fit_image, pixels, png_bytes
from imagepipe.config.recipe import Fit
from imagepipe.dataset.decoding import BadImage, decode, read_size
from imagepipe.dataset.fitting import Target


def exactly(height: int, width: int | None = None) -> Target:
    width = width or height
    return Target(height, width, required_size=(height, width))


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
        (huge, ["has 3,600,000,000 pixels, more than the limit of 89,478,485; scale it down"]),
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


def decoded(content: bytes, target: Target, salvage: bool = False) -> np.ndarray:
    pixels, _ = decode(content, target, salvage)
    return np.frombuffer(pixels, np.uint8).reshape(target.height, target.width, 3)


def encoded(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(
        content, format=kind, **options
    )
    return content.getvalue()


LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_lzw"},
    "BMP": {},
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_every_format_is_decoded_to_the_same_pixels(kind: str) -> None:
    content = encoded(pixels(5, 40), kind, **LOSSLESS[kind])
    assert np.array_equal(decoded(content, exactly(40)), pixels(5, 40))
    assert decode(content, exactly(40))[1] == f"{kind} RGB 40×40"
    assert read_size(content) == (40, 40)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_image_of_several_is_taken(kind: str) -> None:
    colors = [(255, 0, 0), (0, 0, 255)]
    first, *others = [Image.new("RGB", (4, 3), color) for color in colors]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(first, kind, save_all=True, append_images=others, **options)
    assert (decoded(content, exactly(3, 4)) == colors[0]).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_pixels_are_seen_over_white(kind: str) -> None:
    layer = np.zeros((2, 3, 4), np.uint8)
    layer[..., 0] = 200
    layer[..., 3] = [[0, 51, 255]]
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    found = decoded(encoded(layer, kind, **options), exactly(2, 3))
    # White, a fifth of the color over white, and the color.
    assert found.tolist() == [[[255] * 3, [244, 204, 204], [200, 0, 0]]] * 2


def test_every_kind_of_transparency_is_seen_over_white() -> None:
    grey = Image.fromarray(np.array([[0, 100, 200]], np.uint8))
    with_alpha = Image.merge("LA", [grey, Image.fromarray(np.array([[0, 255, 255]], np.uint8))])
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    palette.putpalette([0, 0, 0, 100, 100, 100, 200, 200, 200])
    for content in (
        encoded(with_alpha, "PNG"),
        encoded(grey, "PNG", transparency=0),
        encoded(grey.convert("RGB"), "PNG", transparency=(0, 0, 0)),
        encoded(palette, "PNG", transparency=0),
        encoded(palette, "PNG", transparency=bytes([0, 255, 255])),
        encoded(palette, "GIF", transparency=0),
    ):
        assert decoded(content, exactly(1, 3))[0].tolist() == [[255] * 3, [100] * 3, [200] * 3]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "big-endian TIFF"])
def test_16_bit_ramp_becomes_256_levels(kind: str) -> None:
    """Not 255 for all values above 255, as Pillow's `convert` has it."""
    ramp = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    content = big_endian_tiff(ramp) if "big" in kind else encoded(ramp, kind)
    found = decoded(content, exactly(256))
    assert np.array_equal(found, np.repeat((ramp >> 8).astype(np.uint8)[..., None], 3, axis=2))
    assert len(np.unique(found)) == 256


def big_endian_tiff(values: np.ndarray, bits: int = 16) -> bytes:
    """Return a TIFF file of grey values, uint16 [height, width]."""
    height, width = values.shape
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1)]
    tags += [(278, height)]
    data = values.astype(">u2").tobytes()
    entries = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    entries += struct.pack(">HHII", 279, 4, 1, len(data))
    head = struct.pack(">2sHI", b"MM", 42, 8 + len(data))
    return head + data + struct.pack(">H", len(tags) + 1) + entries + bytes(4)


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colors_are_shifted_too(channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 1 << 16, (5, 7, channels), dtype=np.uint16)
    values[..., 3:] = 0xFFFF
    content = png_file(values, {3: 2, 4: 6}[channels])
    assert np.array_equal(decoded(content, exactly(5, 7)), (values[..., :3] >> 8).astype(np.uint8))


def png_file(values: np.ndarray, color_type: int) -> bytes:
    """Return a PNG file of 16 bits a channel, uint16 [height, width, channels]."""
    height, width, _ = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    data = chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bits_a_pixel_are_refused_as_their_range_is_unknown(dtype: type) -> None:
    content = encoded(Image.fromarray(np.ones((4, 4), dtype)), "TIFF")
    with pytest.raises(BadImage, match="save it with 8 or 16"):
        decode(content, exactly(4))


def test_cmyk_jpeg_has_its_colors() -> None:
    """Adobe's, which other programs follow, are inverted in the file."""
    color = (200, 40, 90)
    for size in (32, 400):
        content = encoded(Image.new("RGB", (size, size), color).convert("CMYK"), "JPEG", quality=95)
        found = decoded(content, Target(32, 32))
        assert np.abs(found.astype(int) - color).max() <= 3
        assert decode(content, Target(32, 32))[1] == f"JPEG CMYK {size}×{size}"


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_at_its_own_size_is_as_pillow_decodes_it(mode: str, options: dict[str, Any]) -> None:
    content = encoded(smooth(90, 70).convert(mode), "JPEG", **options)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(decoded(content, exactly(90, 70)), expected)
    assert decode(content, exactly(90, 70))[1] == f"JPEG {mode} 70×90"


def smooth(height: int, width: int) -> Image.Image:
    """Return an image without fine detail."""
    return Image.fromarray(pixels(3, 6)).resize((width, height), Image.Resampling.BICUBIC)


ORIENTED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_exif_orientation_turns_the_image_upright(kind: str, orientation: int) -> None:
    """Exif 2.32: 6 says that the first row of the file is the right side of the scene."""
    upright = pixels(1, 20)[:12]
    stored = np.ascontiguousarray(ORIENTED[orientation](upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(stored, kind, exif=exif, **LOSSLESS[kind])
    assert np.array_equal(decoded(content, exactly(12, 20)), upright)
    assert decode(content, exactly(12, 20))[1] == f"{kind} RGB 20×12"
    assert read_size(content) == (12, 20)


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(60, 90), (600, 900)])
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_exif_orientation_of_jpeg_files(
    mode: str, size: tuple[int, int], fit: Fit, orientation: int
) -> None:
    upright = np.asarray(smooth(*size))
    stored = np.ascontiguousarray(ORIENTED[orientation](upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(stored).convert(mode), "JPEG", quality=95, exif=exif)
    target = Target(40, 50, fit)
    expected = np.asarray(fit_image(smooth(*size), target))
    assert np.abs(decoded(content, target).astype(int) - expected).mean() < 3
    assert read_size(content) == size


def test_damaged_exif_data_do_not_make_a_bad_image() -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        content = encoded(pixels(1), kind, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09" + b"\xff" * 30)
        assert decode(content, exactly(32))[1] == f"{kind} RGB 32×32"


def test_the_content_decides_and_not_the_name() -> None:
    assert decode(encoded(pixels(1), "JPEG"), exactly(32))[1].startswith("JPEG")
    assert decode(encoded(pixels(1), "WEBP"), exactly(32))[1].startswith("WEBP")


@pytest.mark.parametrize("size", [(375, 500), (900, 1200), (2400, 3200), (224, 224), (250, 1000)])
@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_at_reduced_scale_is_as_one_at_full_scale(
    size: tuple[int, int], fit: Fit, mode: str
) -> None:
    image = smooth(*size).convert(mode)
    target = Target(224, 224, fit)
    expected = np.asarray(fit_image(image, target).convert("RGB"))
    found = decoded(encoded(image, "JPEG", quality=95), target)
    assert np.abs(found.astype(int) - expected).mean() < 1.5


def test_header_that_promises_far_more_than_the_file_holds_is_refused() -> None:
    content = encoded(Image.new("1", (9_000, 9_000)), "PNG")[:900]
    head = content[: content.index(b"IDAT") - 4]
    with pytest.raises(BadImage, match="9000×9000"):
        decode(head + chunk(b"IDAT", b"x") + chunk(b"IEND", b""), Target(32, 32))


def test_image_of_more_pixels_than_the_limit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3_000)
    for kind in ("JPEG", "PNG", "TIFF"):
        with pytest.raises(BadImage, match="has 4,000 pixels, more than the limit of 3,000; scale"):
            decode(encoded(smooth(80, 50), kind), Target(32, 32))


DAMAGED = {
    "JPEG without its last 2 bytes": lambda: encoded(smooth(100, 80), "JPEG")[:-2],
    "JPEG cut in the middle": lambda: half(encoded(smooth(100, 80), "JPEG")),
    "progressive JPEG cut": lambda: half(encoded(smooth(400, 320), "JPEG", progressive=True)),
    "large JPEG without its last 2 bytes": lambda: encoded(smooth(1000, 800), "JPEG")[:-2],
    "PNG cut in the middle": lambda: half(encoded(smooth(100, 80), "PNG")),
    "PNG without its last chunk": lambda: encoded(smooth(100, 80), "PNG")[:-12],
}


def half(content: bytes) -> bytes:
    return content[: len(content) * 6 // 10]


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_image_is_bad_and_can_be_salvaged(name: str) -> None:
    content, target = DAMAGED[name](), Target(50, 40)
    with pytest.raises(BadImage, match="set on_bad_image to salvage") as bad:
        decode(content, target)
    assert bad.value.problem.startswith("is not wholly readable (")
    assert "salvage" not in bad.value.problem
    whole = np.asarray(fit_image(smooth(100, 80), target)).astype(int)
    found = decoded(content, target, salvage=True)
    assert np.abs(found[:15] - whole[:15]).mean() < (20 if "progressive" in name else 4)
    if "last" in name:
        assert np.abs(found - whole).mean() < 4


@pytest.mark.parametrize(
    "content",
    [b"", b"text", encoded(smooth(9, 9), "JPEG")[:100], encoded(smooth(9, 9), "PNG")[:33]],
    ids=["empty", "text", "JPEG cut in its header", "PNG without pixels"],
)
def test_what_holds_no_pixels_cannot_be_salvaged(content: bytes) -> None:
    with pytest.raises(BadImage, match=r"; replace it in the archive$"):
        decode(content, Target(9, 9), salvage=True)


def test_salvage_changes_nothing_for_whole_images_and_for_the_next() -> None:
    for kind in LOSSLESS:
        content = encoded(pixels(5, 40), kind, **LOSSLESS[kind])
        assert np.array_equal(decoded(content, exactly(40), salvage=True), pixels(5, 40))
    with pytest.raises(BadImage):
        decode(half(encoded(smooth(100, 80), "PNG")), Target(50, 40))


def test_flipped_bits_of_any_format_raise_nothing_else() -> None:
    draw = random.Random(0)
    contents = [encoded(smooth(30, 20), kind) for kind in ("JPEG", "WEBP", "TIFF", "BMP", "GIF")]
    contents.append(encoded(smooth(30, 20), "JPEG", progressive=True))
    for content in contents:
        for number in range(150):
            damaged = bytearray(content)
            for _ in range(draw.randrange(1, 4)):
                damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            with contextlib.suppress(BadImage):
                assert len(decode(bytes(damaged), Target(9, 8), bool(number % 2))[0]) == 9 * 8 * 3
            read_size(bytes(damaged))


def test_own_size_is_required_of_images_that_are_stored_smaller() -> None:
    target = Target(16, 16, required_size=(32, 32))
    assert decoded(png_bytes(1), target).shape == (16, 16, 3)
    with pytest.raises(BadImage, match="is 16×16 pixels, where 32×32 are expected"):
        decode(png_bytes(1, size=16), target)
