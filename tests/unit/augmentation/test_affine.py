"""Affine maps of whole batches, against torchvision's image by image."""

import math

import pytest
import torch
from torchvision import transforms
from torchvision.transforms.v2 import functional as tv

from image_builders import noise
from imagepipe.augmentation.affine import draw_affine, inverse_affine, warp
from imagepipe.augmentation.randomness import EpochNumbers
from imagepipe.config.recipe import RandomAffine

SIZE = (20, 30)
FILL = torch.tensor([90.0, 120.0, 150.0])[:, None, None]
OPTIONS = RandomAffine(degrees=50, translate=0.3, min_scale=0.6, max_scale=1.5, shear=20)


def smooth_images(count: int) -> torch.Tensor:
    """Return uint8 images [count, 3, 20, 30]."""
    return tv.resize(noise(count, 6).permute(0, 3, 1, 2), list(SIZE), antialias=True)


def test_each_image_is_changed_as_by_torchvision() -> None:
    torch.manual_seed(0)
    images = smooth_images(30)
    angle, shear = (torch.rand(2, 30) * 2 - 1) * torch.tensor([[180.0], [40.0]])
    right, down = torch.randint(-6, 7, (2, 30)).float()
    scale = 0.6 + torch.rand(30)
    matrices = inverse_affine(angle.deg2rad(), right, down, scale, shear.deg2rad())
    results = warp(images, matrices, FILL)
    assert results.dtype == torch.uint8
    bilinear = transforms.InterpolationMode.BILINEAR
    compared = 0
    for i, image in enumerate(images):
        change = (
            *(angle[i].item(), [int(right[i]), int(down[i])], scale[i].item()),
            *([shear[i].item(), 0.0], bilinear),
        )
        expected = tv.affine(image, *change, fill=FILL.flatten().tolist()).float()
        # At the image's edge, torchvision counts the color around it twice.
        covered = tv.affine(torch.ones(1, *SIZE), *change)[0]
        inner = (covered > 0.999) | (covered == 0)
        assert (results[i] - expected).abs()[:, inner].max() <= 1
        compared += int(inner.sum())
    assert compared > 0.8 * images[:, 0].numel()


def test_no_change_keeps_every_pixel() -> None:
    images, zero = smooth_images(2), torch.zeros(2)
    assert torch.equal(warp(images, inverse_affine(zero, zero, zero, zero + 1, zero), FILL), images)


def test_missing_pixels_get_the_fill_color() -> None:
    images, zero = smooth_images(1), torch.zeros(1)
    result = warp(images, inverse_affine(zero, zero + 5, zero - 2, zero + 1, zero), FILL)
    assert torch.equal(result[:, :, :-2, 5:], images[:, :, 2:, :-5])
    assert (result[:, :, -2:].float() == FILL).all()
    assert (result[:, :, :, :5].float() == FILL).all()


def test_they_are_drawn_as_by_torchvisions_random_affine() -> None:
    torch.manual_seed(0)
    theirs = [
        transforms.RandomAffine.get_params(
            [-50.0, 50.0], (0.3, 0.3), [0.6, 1.5], [-20.0, 20.0], [SIZE[1], SIZE[0]]
        )
        for _ in range(3_000)
    ]
    matrices = draw_affine(OPTIONS, EpochNumbers(50_000, 0, 0), SIZE)
    # The linear part is the inverse of scale · rotation · shear.
    linear = torch.linalg.inv(matrices[:, :, :2])
    scale = linear.det().sqrt()
    angle = torch.atan2(linear[:, 1, 0], linear[:, 0, 0])
    shift = -(linear @ matrices[:, :, 2:])[:, :, 0]
    numbers = {
        "angle": (angle.rad2deg(), [one[0] for one in theirs], 100.0),
        "right": (shift[:, 0], [one[1][0] for one in theirs], 18.0),
        "down": (shift[:, 1], [one[1][1] for one in theirs], 12.0),
        "scale": (scale, [one[2] for one in theirs], 0.9),
    }
    for name, (ours, drawn, width) in numbers.items():
        expected = torch.tensor(drawn, dtype=torch.float32)
        for part in (0.02, 0.25, 0.5, 0.75, 0.98):
            difference = ours.quantile(part) - expected.quantile(part)
            assert abs(difference) < 0.06 * width, (name, part)


def test_the_shear_is_within_its_range() -> None:
    options = RandomAffine(shear=30)
    matrices = draw_affine(options, EpochNumbers(5_000, 0, 0), SIZE)
    angles = matrices[:, 0, 1].atan().rad2deg()
    assert -30.01 <= angles.min() < -29
    assert 29 < angles.max() <= 30.01
    assert matrices[:, 0, 0].tolist() == pytest.approx([1.0] * 5_000)
    assert math.isclose(angles.mean().item(), 0, abs_tol=0.8)
