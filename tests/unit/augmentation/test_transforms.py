"""Random changes of whole batches, against torchvision's image by image."""

from collections import Counter
from typing import Any

import pytest
import torch
from torchvision import transforms
from torchvision.transforms.v2 import functional as tv

from image_builders import noise
from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.resizing import resize_images
from imagepipe.augmentation.transforms import (
    AugmentationDraws,
    augment,
    draw_augmentation,
    erase,
    flip,
    shift_and_flip,
)
from imagepipe.config.recipe import Augmentation

BOOK_CROP = {"resize": 40, "min_area": 0.64, "max_area": 1.0}
# Leaves pixels as they are, in 0…1.
NONE = Normalize.from_statistics([0.0] * 3, [1.0] * 3, torch.device("cpu"))
COLORS = ("brightness", "contrast", "saturation", "hue")


def drawn(
    count: int, size: int = 32, seed: int = 0, epoch: int = 0, **changes: Any
) -> AugmentationDraws:
    return draw_augmentation(Augmentation(**changes), count, (size, size), seed, epoch)


def float_images(count: int, size: int = 32) -> torch.Tensor:
    """Return images [count, 3, size, size] of noise in 0…1."""
    return noise(count, size).permute(0, 3, 1, 2) / 255


def test_shift_is_torchvisions_mirrored_padding_and_crop() -> None:
    shifts = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
    images = float_images(len(shifts), 8)
    down, right = torch.tensor(shifts).T
    none = torch.zeros(len(shifts), dtype=torch.bool)
    results = shift_and_flip(images, down, right, none)
    for image, (down_, right_), result in zip(images, shifts, results, strict=True):
        padded = tv.pad(image, [2, 2, 2, 2], padding_mode="reflect")
        assert torch.equal(result, tv.crop(padded, 2 - down_, 2 - right_, 8, 8))


def test_a_shift_moves_down_and_right() -> None:
    images = float_images(1, 8)
    no = torch.tensor([False])
    result = shift_and_flip(images, torch.tensor([2]), torch.tensor([1]), no)
    assert torch.equal(result[:, :, 2:, 1:], images[:, :, :-2, :-1])


@pytest.mark.parametrize("padding", [1, 7])
def test_the_widest_shifts_are_mirrored_too(padding: int) -> None:
    images = float_images(2, 8)
    down, right = torch.tensor([padding, -padding]), torch.tensor([-padding, padding])
    no = torch.tensor([False, False])
    results = shift_and_flip(images, down, right, no)
    padded = tv.pad(images, [padding] * 4, padding_mode="reflect")
    assert torch.equal(results[0], tv.crop(padded[0], 0, 2 * padding, 8, 8))
    assert torch.equal(results[1], tv.crop(padded[1], 2 * padding, 0, 8, 8))


def test_all_shifts_come_equally_often() -> None:
    draws = drawn(50_000, random_crop_padding=2)
    pairs = Counter(zip(draws.shift_down.tolist(), draws.shift_right.tolist(), strict=True))
    assert set(pairs) == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}
    for count in pairs.values():
        assert count / 50_000 == pytest.approx(1 / 25, abs=0.005)


def test_half_of_the_images_are_drawn_to_be_flipped_each_way() -> None:
    draws = drawn(10_000, horizontal_flip=True, vertical_flip=True)
    assert draws.flipped.float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert draws.flipped_vertically.float().mean().item() == pytest.approx(0.5, abs=0.02)
    both = draws.flipped & draws.flipped_vertically
    assert both.float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_alternating_flips_are_those_of_the_other_images_in_every_other_epoch() -> None:
    flips = [
        drawn(1_000, epoch=epoch, horizontal_flip=True, alternating_flip=True).flipped
        for epoch in range(3)
    ]
    assert torch.equal(flips[1], ~flips[0])
    assert torch.equal(flips[2], flips[0])
    off = drawn(1_000, epoch=1, alternating_flip=True)
    assert not off.flipped.any()


@pytest.mark.parametrize("size", [20, 24, 28, 31])
def test_scaling_is_that_of_torchvision_with_antialiasing(size: int) -> None:
    images = noise(6, 32)
    draws = drawn(len(images))
    results = augment(images, Augmentation(), draws, NONE, scale=size / 32)
    expected = tv.resize(images.permute(0, 3, 1, 2) / 255, [size, size], antialias=True)
    assert results.shape == (6, 3, size, size)
    torch.testing.assert_close(results, expected, rtol=0, atol=1e-5)


def test_exactly_the_drawn_images_are_flipped() -> None:
    images = float_images(4, 8)
    none = torch.zeros(4, dtype=torch.long)
    horizontally = torch.tensor([True, False, False, True])
    vertically = torch.tensor([True, True, False, False])
    result = flip(shift_and_flip(images, none, none, horizontally), vertically, dim=2)
    assert torch.equal(flip(flip(images, horizontally, dim=3), vertically, dim=2), result)
    for index in range(4):
        expected = images[index]
        if horizontally[index]:
            expected = tv.horizontal_flip(expected)
        if vertically[index]:
            expected = tv.vertical_flip(expected)
        assert torch.equal(result[index], expected)


@pytest.mark.parametrize("side", [1, 5, 8])
def test_cutout_is_torchvisions_erasing(side: int) -> None:
    free = 8 - side
    corners = [(top, left) for top in range(free + 1) for left in range(free + 1)]
    images = float_images(len(corners), 8)
    top, left = torch.tensor(corners).T
    sides = torch.full_like(top, side)
    results = erase(images, (8, 8), top, left, sides, sides)
    for image, (top_, left_), result in zip(images, corners, results, strict=True):
        erased = tv.erase(image, top_, left_, side, side, torch.zeros(3, 1, 1))
        assert torch.equal(result, erased)


def test_cutouts_are_drawn_as_by_torchvisions_random_erasing() -> None:
    torch.manual_seed(0)
    image, scale = torch.zeros(3, 12, 12), (9 * 9) / (12 * 12)
    theirs: Counter[tuple[int, int]] = Counter()
    for _ in range(5_000):
        top, left, height, width, _ = transforms.RandomErasing.get_params(
            image, (scale, scale), (1.0, 1.0), [0.0]
        )
        assert (height, width) == (9, 9)
        theirs.update([(top, left)])
    draws = drawn(50_000, 12, cutout=9)
    ours = Counter(zip(draws.cutout_top.tolist(), draws.cutout_left.tolist(), strict=True))
    assert ours.keys() == theirs.keys()
    for cell, count in ours.items():
        assert count / 50_000 == pytest.approx(theirs[cell] / 5_000, abs=0.02), cell


def test_the_cutout_is_the_mean_color_whatever_the_colors_were_changed_to() -> None:
    images = noise(6, 8)
    normalize = Normalize.from_statistics([0.5, 0.4, 0.3], [0.2, 0.3, 0.4], torch.device("cpu"))
    chosen = Augmentation(cutout=3, color_jitter={"brightness": 0.5})
    draws = draw_augmentation(chosen, 6, (8, 8), seed=0, epoch=0)
    results = augment(images, chosen, draws, normalize)
    for result, top, left in zip(results, draws.cutout_top, draws.cutout_left, strict=True):
        assert (result == 0).all(dim=0).sum() == 9
        assert not result[:, top : top + 3, left : left + 3].any()


@pytest.mark.parametrize("name", COLORS)
def test_color_factors_are_drawn_as_by_torchvisions_color_jitter(name: str) -> None:
    torch.manual_seed(0)
    position = COLORS.index(name)
    ranges: list[Any] = [(0.5, 1.5), (0.2, 1.8), (0.0, 2.3), (-0.1, 0.1)]
    theirs = torch.tensor(
        [transforms.ColorJitter.get_params(*ranges)[1 + position] for _ in range(5_000)]
    )
    jitter = {"brightness": 0.5, "contrast": 0.8, "saturation": 1.3, "hue": 0.1}
    ours = getattr(drawn(50_000, color_jitter=jitter), name)
    low, high = ranges[position]
    assert low <= ours.min() < low + 0.01
    assert high - 0.01 < ours.max() <= high
    for part in (0.1, 0.5, 0.9):
        distance = ours.quantile(part) - theirs.quantile(part)
        assert abs(distance) < 0.04 * (high - low), part


EVERYTHING = {
    "random_resized_crop": BOOK_CROP,
    "random_crop_padding": 2,
    "horizontal_flip": True,
    "color_jitter": {"brightness": 0.3, "contrast": 0.4, "saturation": 0.5, "hue": 0.2},
    "cutout": 8,
}
FOR_PHOTOGRAPHS = {
    "vertical_flip": True,
    "affine": {
        "degrees": 40,
        "translate": 0.2,
        "min_scale": 0.8,
        "max_scale": 1.2,
        "shear": 10,
    },
    "rand_augment": {},
    "random_erasing": {"probability": 0.9, "min_area": 0.1},
}
ALL = EVERYTHING | FOR_PHOTOGRAPHS
# Drawn with the others, and used by `mix_batch`.
AND_CUTMIX = ALL | {"cutmix": 1.0}


def test_an_image_is_cropped_shifted_flipped_colored_and_then_cut_out() -> None:
    images = noise(24, 32)
    draws = drawn(len(images), **EVERYTHING)
    results = augment(images, Augmentation(**EVERYTHING), draws, NONE)
    assert results.is_contiguous(memory_format=torch.channels_last)
    assert 0 < draws.flipped.sum() < len(images)
    for index, image in enumerate(images):
        square = (draws.crop_height[index], draws.crop_top[index], draws.crop_left[index])
        pixels = image.permute(2, 0, 1) / 255
        side, *corner = (value.item() for value in square)
        expected = tv.resize(pixels, [40, 40], antialias=True)
        expected = tv.crop(expected, *corner, side, side)
        expected = tv.resize(expected, [32, 32], antialias=True)
        top, left = 2 - draws.shift_down[index].item(), 2 - draws.shift_right[index].item()
        padded = tv.pad(expected, [2, 2, 2, 2], padding_mode="reflect")
        expected = tv.crop(padded, top, left, 32, 32)
        if draws.flipped[index]:
            expected = tv.horizontal_flip(expected)
        for name in COLORS:
            adjust = getattr(tv, f"adjust_{name}")
            expected = adjust(expected, getattr(draws, name)[index].item())
        corner = (draws.cutout_top[index].item(), draws.cutout_left[index].item())
        expected = tv.erase(expected, *corner, 8, 8, torch.zeros(3, 1, 1))
        torch.testing.assert_close(results[index], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "value"), [*ALL.items()])
def test_an_augmentation_that_is_off_changes_nothing_and_one_that_is_on_does(
    name: str, value: object
) -> None:
    images = noise(8, 32)
    draws = drawn(len(images), **ALL)
    unchanged = NONE(images.permute(0, 3, 1, 2))
    assert torch.equal(augment(images, Augmentation(), draws, NONE), unchanged)
    changed = augment(images, Augmentation(**{name: value}), draws, NONE)
    assert not torch.allclose(changed, unchanged, atol=0.1)


def test_what_happens_to_an_image_does_not_depend_on_its_batch() -> None:
    images = noise(10, 32)
    draws = drawn(len(images), **ALL)
    whole = augment(images, Augmentation(**ALL), draws, NONE)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    for rows in order.split(3):
        part = augment(images[rows], Augmentation(**ALL), draws.select(rows), NONE)
        torch.testing.assert_close(part, whole[rows], rtol=0, atol=1e-6)


def same_draws(one: AugmentationDraws, other: AugmentationDraws) -> dict[str, bool]:
    return {name: torch.equal(value, vars(other)[name]) for name, value in vars(one).items()}


def test_the_same_seed_and_epoch_draw_the_same() -> None:
    first, second = (drawn(100, seed=4, epoch=2, **AND_CUTMIX) for _ in range(2))
    assert all(same_draws(first, second).values())


@pytest.mark.parametrize(("seed", "epoch"), [(4, 3), (5, 2)])
def test_another_seed_or_epoch_draws_everything_anew(seed: int, epoch: int) -> None:
    first = drawn(100, seed=4, epoch=2, **AND_CUTMIX)
    other = drawn(100, seed=seed, epoch=epoch, **AND_CUTMIX)
    assert not any(same_draws(first, other).values())


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("random_resized_crop", ("crop_height", "crop_width", "crop_top", "crop_left")),
        ("random_crop_padding", ("shift_down", "shift_right")),
        ("horizontal_flip", ("flipped",)),
        ("vertical_flip", ("flipped_vertically",)),
        ("affine", ("affine",)),
        ("rand_augment", ("operation", "strength")),
        ("random_erasing", ("erased",)),
        ("color_jitter", COLORS),
        ("cutout", ("cutout_top", "cutout_left")),
        ("cutmix", ("lam", "cutmix_row", "cutmix_column")),
    ],
)
def test_turning_one_augmentation_on_leaves_the_draws_of_the_others(
    name: str, fields: tuple[str, ...]
) -> None:
    everything = drawn(100, seed=4, epoch=2, **AND_CUTMIX)
    alone = drawn(100, seed=4, epoch=2, **{name: AND_CUTMIX[name]})
    same = same_draws(everything, alone)
    assert [field for field, equal in same.items() if equal] == list(fields)


WIDE = (18, 30)


def wide_images(count: int) -> torch.Tensor:
    """Return uint8 images [count, 18, 30, 3]."""
    return noise(count, 30)[:, : WIDE[0]]


def test_a_cutout_may_be_anywhere_in_an_image_that_is_not_square() -> None:
    draws = draw_augmentation(Augmentation(cutout=8), 5_000, WIDE, seed=0, epoch=0)
    assert (draws.cutout_top.min(), draws.cutout_top.max()) == (0, 10)
    assert (draws.cutout_left.min(), draws.cutout_left.max()) == (0, 22)


@pytest.mark.parametrize("scale", [1.0, 0.75])
def test_images_that_are_not_square_stay_so(scale: float) -> None:
    images = wide_images(6)
    draws = draw_augmentation(Augmentation(**EVERYTHING), 6, WIDE, seed=0, epoch=0)
    results = augment(images, Augmentation(**EVERYTHING), draws, NONE, scale)
    assert results.shape == (6, 3, round(18 * scale), round(30 * scale))


def enlarged(
    images: torch.Tensor, size: tuple[int, int], scale: float = 1.0, **changes: Any
) -> tuple[torch.Tensor, AugmentationDraws]:
    """Return images augmented for a network whose images have this size, and the draws."""
    options = Augmentation(**changes)
    draws = draw_augmentation(options, len(images), images.shape[1:3], seed=0, epoch=0)
    return augment(images, options, draws, NONE, scale, size, "bicubic"), draws


@pytest.mark.parametrize("scale", [1.0, 0.75])
def test_images_stored_smaller_are_augmented_first_and_enlarged_once(scale: float) -> None:
    images, size = wide_images(6), (40, 60)
    target = (round(40 * scale), round(60 * scale))
    changes = {key: ALL[key] for key in ("random_crop_padding", "horizontal_flip", "rand_augment")}
    results, draws = enlarged(images, size, scale, **changes)
    small = 255 * augment(images, Augmentation(**changes), draws, NONE)
    small = small.round().to(torch.uint8).permute(0, 2, 3, 1)
    expected = resize_images(small, target, "bicubic").permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(results, expected)
    assert results.is_contiguous(memory_format=torch.channels_last)


def test_a_crop_of_an_image_stored_smaller_comes_last_and_enlarges_it() -> None:
    images = wide_images(6)
    crop = {"resize": None, "min_area": 0.3, "max_ratio": 1.5}
    results, draws = enlarged(images, (40, 60), random_resized_crop=crop, horizontal_flip=True)
    boxes = (draws.crop_top, draws.crop_left, draws.crop_height, draws.crop_width)
    for image, result, flipped, *box in zip(images, results, draws.flipped, *boxes, strict=True):
        pixels = image.permute(2, 0, 1)
        pixels = tv.horizontal_flip(pixels) if flipped else pixels
        method = transforms.InterpolationMode.BICUBIC
        expected = tv.resized_crop(pixels, *(int(n) for n in box), [40, 60], method) / 255
        assert (result - expected).abs().max() <= 2.5 / 255


def test_erased_pixels_are_those_of_the_stored_image() -> None:
    images = wide_images(6) // 2 + 100
    results, draws = enlarged(images, (36, 120), cutout=8)
    for result, top, left in zip(results, draws.cutout_top, draws.cutout_left, strict=True):
        assert (result == 0).all(dim=0).sum() == 16 * 32
        assert not result[:, 2 * top : 2 * top + 16, 4 * left : 4 * left + 32].any()


def test_rectangles_are_drawn_as_by_torchvisions_random_erasing() -> None:
    torch.manual_seed(0)
    image, scale, ratio = torch.zeros(3, 40, 60), (0.05, 0.6), (1 / 3, 3.0)
    theirs = torch.tensor(
        [transforms.RandomErasing.get_params(image, scale, ratio, [0.0])[:4] for _ in range(3_000)]
    ).double()
    erasing = {"probability": 0.7, "min_area": 0.05, "max_area": 0.6, "max_ratio": 3.0}
    options = Augmentation(random_erasing=erasing)
    ours = draw_augmentation(options, 60_000, (40, 60), seed=0, epoch=0).erased.double()
    chosen = ours[:, 2] > 0
    assert chosen.double().mean().item() == pytest.approx(0.7, abs=0.01)
    assert not ours[~chosen].any()
    ours = ours[chosen]
    for column in range(4):
        for part in (0.1, 0.3, 0.5, 0.7, 0.9):
            difference = ours[:, column].quantile(part) - theirs[:, column].quantile(part)
            assert abs(difference) <= 1.5, (column, part)


def test_a_rectangle_is_erased_where_it_was_drawn() -> None:
    images = wide_images(20) // 2 + 100
    options = Augmentation(random_erasing={"probability": 0.6, "min_area": 0.1})
    draws = draw_augmentation(options, 20, WIDE, seed=0, epoch=0)
    for image, result, box in zip(
        images, augment(images, options, draws, NONE), draws.erased.tolist(), strict=True
    ):
        expected = tv.erase(image.permute(2, 0, 1) / 255, *box, torch.zeros(3, 1, 1))
        torch.testing.assert_close(result, expected)


def test_options_that_are_off_draw_nothing() -> None:
    draws = drawn(7)
    for name in ("affine", "operation", "strength", "erased"):
        assert getattr(draws, name).shape == (7, 0)
