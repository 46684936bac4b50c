"""Random crops of whole batches, against torchvision's image by image."""

from collections import Counter
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional as pil_functional
from torchvision.transforms.v2 import functional as tv

from image_builders import noise
from imagepipe.augmentation.crops import crop_and_resize, enlarged_size, resized_crop
from imagepipe.augmentation.transforms import AugmentationDraws, draw_augmentation
from imagepipe.config.recipe import Augmentation
from imagepipe.config.weights import Interpolation

BOOK_CROP = {"resize": 40, "min_area": 0.64, "max_area": 1.0}
WIDE = (18, 30)


def drawn(count: int, size: tuple[int, int] = (32, 32), **crop: Any) -> AugmentationDraws:
    options = Augmentation(random_resized_crop=crop)
    return draw_augmentation(options, count, size, seed=0, epoch=0)


def boxes_of(draws: AugmentationDraws) -> tuple[torch.Tensor, ...]:
    return draws.crop_height, draws.crop_width, draws.crop_top, draws.crop_left


def float_images(count: int, size: int = 32) -> torch.Tensor:
    """Return images [count, 3, size, size] of noise in 0…1."""
    return noise(count, size).permute(0, 3, 1, 2) / 255


def squares(resize: int, sides: range) -> list[tuple[int, int, int]]:
    """Return (side, top, left) for each side: all corners at the edges, and one in the middle."""
    return [
        (side, top, left)
        for side in sides
        for top in sorted({0, (resize - side) // 2, resize - side})
        for left in sorted({0, (resize - side + 1) // 2, resize - side})
    ]


def torchvision_chain(
    image: torch.Tensor, resize: int, side: int, top: int, left: int
) -> torch.Tensor:
    size = list(image.shape[-2:])
    enlarged = tv.resize(image, [resize, resize], antialias=True)
    return tv.resize(tv.crop(enlarged, top, left, side, side), size, antialias=True)


@pytest.mark.parametrize(
    ("size", "resize", "sides"),
    [
        (32, 40, range(32, 41)),
        (32, 24, range(19, 25)),
        (32, 40, range(3, 32, 7)),
        (9, 13, range(1, 14)),
    ],
    ids=["as the book", "smaller than the image", "tiny squares", "odd sizes"],
)
def test_resized_crop_is_torchvisions_resize_crop_and_resize(
    size: int, resize: int, sides: range
) -> None:
    chosen = squares(resize, sides)
    images = float_images(len(chosen), size)
    side, top, left = torch.tensor(chosen).T
    results = resized_crop(images, (resize, resize), side, side, top, left, (size, size))
    for image, square, result in zip(images, chosen, results, strict=True):
        expected = torchvision_chain(image, resize, *square)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


def test_resized_crop_is_within_two_gray_levels_of_pillows_as_in_the_book() -> None:
    chosen = squares(40, range(32, 41))
    images = noise(len(chosen), 32)
    side, top, left = torch.tensor(chosen).T
    pixels = images.permute(0, 3, 1, 2).float()
    results = resized_crop(pixels, (40, 40), side, side, top, left, (32, 32))
    for image, (side_, top_, left_), result in zip(images, chosen, results, strict=True):
        enlarged = transforms.Resize(40)(Image.fromarray(image.numpy()))
        cropped = pil_functional.resized_crop(enlarged, top_, left_, side_, side_, [32, 32])
        expected = 255 * transforms.ToTensor()(cropped)
        assert (result - expected).abs().max() <= 2


def test_squares_are_drawn_as_by_torchvisions_random_resized_crop() -> None:
    torch.manual_seed(0)
    image = torch.zeros(3, 40, 40)
    theirs = Counter()
    for _ in range(8_000):
        top, left, side, _ = transforms.RandomResizedCrop.get_params(image, (0.64, 1.0), (1.0, 1.0))
        theirs.update([("top", side, top), ("left", side, left)])
    draws = drawn(80_000, **BOOK_CROP)
    sides = draws.crop_height.tolist()
    ours = Counter(("top", *pair) for pair in zip(sides, draws.crop_top.tolist(), strict=True))
    ours.update(("left", *pair) for pair in zip(sides, draws.crop_left.tolist(), strict=True))
    assert ours.keys() == theirs.keys()
    for cell, count in ours.items():
        # The commonest cells, moved by one pixel, would be wrong by 0.03 to 0.06.
        assert count / 80_000 == pytest.approx(theirs[cell] / 8_000, abs=0.012), cell


def test_corners_of_squares_are_spread_over_both_axes_independently() -> None:
    draws = drawn(80_000, **BOOK_CROP)
    chosen = draws.crop_height == 38
    corners = Counter(
        zip(draws.crop_top[chosen].tolist(), draws.crop_left[chosen].tolist(), strict=True)
    )
    assert len(corners) == 9
    for count in corners.values():
        assert count / chosen.sum().item() == pytest.approx(1 / 9, abs=0.01)


def test_least_and_largest_area_bound_the_squares() -> None:
    crop = {"resize": 20, "min_area": 0.25, "max_area": 0.49}
    sides = drawn(5_000, **crop).crop_height
    assert sorted(set(sides.tolist())) == [10, 11, 12, 13, 14]


def test_a_crop_of_an_image_that_is_not_square_has_its_shape() -> None:
    images = noise(20, 30)[:, : WIDE[0]].permute(0, 3, 1, 2) / 255
    draws = drawn(20, WIDE, resize=24, min_area=0.3)
    assert (draws.crop_top + draws.crop_height).max() <= 24
    assert (draws.crop_left + draws.crop_width).max() <= 40
    torch.testing.assert_close(
        draws.crop_width / draws.crop_height, torch.full((20,), 40 / 24), rtol=0.04, atol=0
    )
    boxes = boxes_of(draws)
    results = resized_crop(images, (24, 40), *boxes, WIDE)
    for image, result, height, width, top, left in zip(images, results, *boxes, strict=True):
        enlarged = tv.resize(image, [24, 40], antialias=True)
        cropped = tv.crop(enlarged, top.item(), left.item(), height.item(), width.item())
        expected = tv.resize(cropped, list(WIDE), antialias=True)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("resize", "size", "expected"),
    [
        (40, (32, 32), (40, 40)),
        (40, (30, 20), (60, 40)),
        (7, (3, 5), (7, 11)),
        (None, (13, 29), (13, 29)),
    ],
)
def test_an_image_is_enlarged_by_its_smaller_side_as_by_torchvision(
    resize: int | None, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert enlarged_size(resize, size) == expected
    assert tv.resize(torch.zeros(1, *size), [resize or min(size)]).shape[1:] == expected


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [WIDE, (40, 45), (9, 20)])
@pytest.mark.parametrize("bytes_", [True, False])
def test_a_crop_to_any_size_is_torchvisions_resized_crop(
    size: tuple[int, int], interpolation: Interpolation, bytes_: bool
) -> None:
    # Bytes end at 0 and 255 after each axis; these values stay far from there.
    images = (80 + noise(20, 30) // 3)[:, : WIDE[0]].permute(0, 3, 1, 2)
    boxes = boxes_of(drawn(20, WIDE, resize=None, min_area=0.1, max_ratio=2))
    if bytes_:
        results = crop_and_resize(images, None, boxes, size, interpolation)
        assert results.dtype == torch.uint8
    else:
        # As on GPUs.
        results = resized_crop(images.float(), WIDE, *boxes, size, interpolation)
    method = transforms.InterpolationMode(interpolation)
    for image, result, *box in zip(images, results, *boxes, strict=True):
        height, width, top, left = (int(number) for number in box)
        expected = tv.resized_crop(image, top, left, height, width, list(size), method)
        assert (result - expected.float()).abs().max() <= 1.5


def test_boxes_of_any_ratio_are_drawn_as_by_torchvisions_random_resized_crop() -> None:
    torch.manual_seed(0)
    image = torch.zeros(3, 64, 64)
    scale, ratio = (0.2, 1.0), (0.5, 2.0)
    theirs = torch.tensor(
        [transforms.RandomResizedCrop.get_params(image, scale, ratio) for _ in range(3_000)]
    )
    draws = drawn(60_000, (64, 64), resize=None, min_area=0.2, max_ratio=2.0)
    ours = torch.stack((draws.crop_top, draws.crop_left, *boxes_of(draws)[:2]), dim=1)
    assert ours.min() >= 0
    assert (draws.crop_top + draws.crop_height).max() <= 64
    assert (draws.crop_left + draws.crop_width).max() <= 64
    for column in range(4):
        for part in (0.1, 0.3, 0.5, 0.7, 0.9):
            difference = ours[:, column].double().quantile(part) - theirs[
                :, column
            ].double().quantile(part)
            assert abs(difference) <= 2, (column, part)
    areas = [(one[:, 2] * one[:, 3]).double().mean().item() for one in (ours, theirs)]
    assert areas[0] == pytest.approx(areas[1], rel=0.02)


def test_a_ratio_is_relative_to_that_of_the_image() -> None:
    draws = drawn(5_000, (50, 100), resize=None, min_area=0.2, max_area=0.3, max_ratio=1.5)
    ratio = draws.crop_width / draws.crop_height / 2
    assert 0.64 < ratio.min() < 0.7
    assert 1.45 < ratio.max() < 1.55


def test_where_no_crop_fits_the_image_is_taken_whole() -> None:
    draws = drawn(200, (50, 50), resize=None, min_area=0.99, max_ratio=100.0)
    whole = draws.crop_height == 50
    assert whole.float().mean() > 0.8
    assert (draws.crop_width[whole] == 50).float().mean() > 0.9
