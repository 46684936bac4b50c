"""Fitting images to a size: what is kept, what is cut, what is added, and how large they are."""

import numpy as np
import pytest
from PIL import Image

from builders import fit_image, pixels
from imagepipe.config.recipe import Fit
from imagepipe.dataset.fitting import Target, jpeg_divisor, stored_size


@pytest.mark.parametrize(
    ("sizes", "fit", "stored"),
    [
        # Nothing is enlarged: each side for itself,
        ([(28, 28)], "squash", (28, 28)),
        ([(28, 200), (60, 50)], "squash", (60, 96)),
        ([(375, 500)], "squash", (96, 96)),
        # or both by one factor.
        ([(28, 28)], "crop", (28, 28)),
        ([(48, 200)], "crop", (48, 48)),
        ([(48, 200), (72, 80)], "crop", (72, 72)),
        ([(375, 500)], "crop", (96, 96)),
        ([(48, 24)], "pad", (48, 48)),
        ([(48, 200)], "pad", (96, 96)),
        ([(1, 1)], "pad", (1, 1)),
        ([], "squash", (96, 96)),
    ],
)
def test_stored_size_is_the_target_or_less(
    sizes: list[tuple[int, int]], fit: Fit, stored: tuple[int, int]
) -> None:
    assert stored_size(sizes, (96, 96), fit) == stored
    assert stored_size(sizes[::-1], (96, 96), fit) == stored


def test_stored_size_of_a_target_that_is_not_square() -> None:
    assert stored_size([(30, 90)], (60, 80), "squash") == (30, 80)
    assert stored_size([(30, 90)], (60, 80), "crop") == (30, 40)
    assert stored_size([(30, 60)], (60, 80), "pad") == (45, 60)


def test_no_more_sizes_are_read_than_are_needed() -> None:
    sizes = iter([(20, 20), (100, 20), (20, 100), (7, 7)])
    assert stored_size(sizes, (96, 96), "squash") == (96, 96)
    assert list(sizes) == [(7, 7)]


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_image_of_the_size_stays_as_it_is(fit: Fit, mode: str) -> None:
    image = Image.fromarray(pixels(1)[:20]).convert(mode)
    assert fit_image(image, Target(20, 32, fit)).tobytes() == image.tobytes()


def stripes(*widths: int, height: int = 20) -> Image.Image:
    """Return vertical stripes of 50, 100, 150 … of some widths."""
    values = np.repeat([50 * (n + 1) for n in range(len(widths))], widths)
    return Image.fromarray(np.tile(values.astype(np.uint8), (height, 1)))


def test_squash_resizes_each_side() -> None:
    found = np.asarray(fit_image(stripes(20, 20), Target(20, 20, "squash")))
    assert found[0, [0, 5, 14, 19]].tolist() == [50, 50, 100, 100]
    assert (found == found[0]).all()


@pytest.mark.parametrize("height", [20, 40, 10])
def test_crop_cuts_the_middle_out(height: int) -> None:
    image = stripes(10, 20, 10)
    found = np.asarray(fit_image(image, Target(height, height, "crop")))
    assert found.shape == (height, height)
    # Where the cut is, half a pixel from outside may be mixed in.
    assert (found[:, 2:-2] == 100).all()


@pytest.mark.parametrize(("size", "top"), [(40, 10), (20, 5), (41, 10)])
def test_pad_adds_black_borders(size: int, top: int) -> None:
    image = Image.new("RGB", (40, 20), (10, 200, 30))
    found = np.asarray(fit_image(image, Target(size, size, "pad")))
    height = round(size / 2)
    assert (found[:top] == 0).all()
    assert (found[top : top + height] == (10, 200, 30)).all()
    assert (found[top + height :] == 0).all()


def test_pad_centers_a_tall_image() -> None:
    found = np.asarray(fit_image(Image.new("L", (10, 40), 255), Target(40, 40, "pad")))
    assert np.flatnonzero(found[0]).tolist() == list(range(15, 25))


def test_small_images_of_a_mixed_dataset_get_the_common_size() -> None:
    for fit in ("squash", "crop", "pad"):
        assert fit_image(Image.new("L", (3, 2)), Target(64, 64, fit)).size == (64, 64)


@pytest.mark.parametrize("factor", [2, 4, 10, 16])
def test_fine_detail_is_averaged_and_makes_no_pattern(factor: int) -> None:
    checks = np.indices((16 * factor, 16 * factor)).sum(axis=0) % 2 * 255
    found = np.asarray(fit_image(Image.fromarray(checks.astype(np.uint8)), Target(16, 16)))
    assert found.min() >= 125 and found.max() <= 130


@pytest.mark.parametrize(
    ("size", "target", "divisor"),
    [
        ((500, 375), Target(224, 224), 2),
        ((500, 375), Target(224, 224, "crop"), 1),
        ((500, 375), Target(224, 224, "pad"), 2),
        ((4000, 3000), Target(224, 224), 8),
        ((448, 448), Target(224, 224), 2),
        ((300, 300), Target(224, 224), 1),
        ((32, 32), Target(32, 32), 1),
        ((10, 10), Target(32, 32), 1),
        ((1000, 300), Target(224, 224), 1),
    ],
)
def test_jpeg_files_are_divided_to_no_less_than_is_needed(
    size: tuple[int, int], target: Target, divisor: int
) -> None:
    assert jpeg_divisor(size, target) == divisor
