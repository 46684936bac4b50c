"""The operations of TrivialAugment and RandAugment, against torchvision's image by image."""

from collections import Counter

import pytest
import torch
from torchvision import transforms
from torchvision.transforms import InterpolationMode, autoaugment
from torchvision.transforms.v2 import functional as tv

from image_builders import noise
from imagepipe.augmentation.operations import (
    SIGNED,
    Operation,
    apply_operations,
    draw_operations,
    strengths_of_rand_augment,
    strengths_of_trivial_augment,
)
from imagepipe.augmentation.randomness import EpochNumbers
from imagepipe.config.recipe import RandAugment

SIZE = (20, 30)
FILL = torch.tensor([90.0, 120.0, 150.0])[:, None, None]
# In torchvision's words, in its order.
NAMES = [
    *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"),
    *("Brightness", "Color", "Contrast", "Sharpness"),
    *("Posterize", "Solarize", "AutoContrast", "Equalize"),
]


def images() -> torch.Tensor:
    """Return uint8 images [14, 3, 20, 30]: noise, smooth ones, and one of a single color."""
    random = noise(6, 30)[:, : SIZE[0]].permute(0, 3, 1, 2)
    smooth = tv.resize(noise(7, 5, seed=1).permute(0, 3, 1, 2) // 2, list(SIZE), antialias=True)
    plain = torch.full((1, 3, *SIZE), 77, dtype=torch.uint8)
    return torch.cat((random, 40 + smooth, plain))


def by_torchvision(image: torch.Tensor, name: str, strength: float) -> torch.Tensor:
    fill = FILL.flatten().tolist()
    return autoaugment._apply_op(image, name, strength, InterpolationMode.BILINEAR, fill)


@pytest.mark.parametrize("operation", Operation, ids=lambda one: one.name)
def test_each_operation_is_torchvisions(operation: Operation) -> None:
    batch, table = images(), strengths_of_trivial_augment()[operation]
    for level in (0, 1, 8, 17, 29, 30):
        for sign in (1, -1) if operation in SIGNED else (1,):
            strength = sign * table[level].item()
            kinds = torch.full((len(batch),), int(operation))
            results = apply_operations(
                batch, kinds, torch.full((len(batch),), strength), FILL, select=True
            )
            assert results.dtype == torch.uint8
            for image, result in zip(batch, results, strict=True):
                expected = by_torchvision(image, NAMES[operation], strength)
                difference = (result.float() - expected.float()).abs()
                if Operation.SHEAR_X <= operation <= Operation.ROTATE:
                    # At the image's edge, torchvision counts the color around it twice.
                    one = by_torchvision(torch.full((3, *SIZE), 255.0), NAMES[operation], strength)
                    zeros = FILL.expand(-1, *SIZE)
                    difference = difference[(one > 254.9) | (one - zeros).abs().lt(1e-3)]
                if operation in (Operation.POSTERIZE, Operation.SOLARIZE, Operation.EQUALIZE):
                    assert difference.max() == 0
                # torchvision cuts fractions off where these are rounded, and also of the gray.
                limit = 2 if operation in (Operation.COLOR, Operation.CONTRAST) else 1
                assert difference.max() <= limit, (level, sign)


def test_each_image_has_an_operation_of_its_own() -> None:
    batch, kinds = images(), torch.arange(14)
    strength = strengths_of_trivial_augment()[:, 20]
    results = apply_operations(batch, kinds, strength, FILL, select=True)
    for i in range(14):
        one = slice(i, i + 1)
        alone = apply_operations(batch[one], kinds[one], strength[one], FILL, select=True)
        assert torch.equal(results[one], alone)
    assert torch.equal(results[0], batch[0])


def test_a_device_that_must_not_wait_gets_the_same() -> None:
    batch = images().repeat(3, 1, 1, 1)
    kinds = torch.arange(42) % 14
    strength = strengths_of_trivial_augment()[kinds, torch.arange(42) % 31]
    expected = apply_operations(batch, kinds, strength, FILL, select=True)
    assert torch.equal(apply_operations(batch, kinds, strength, FILL, select=False), expected)


def test_images_of_one_pixel_come_through() -> None:
    batch = torch.full((14, 3, 1, 1), 50, dtype=torch.uint8)
    strength = strengths_of_trivial_augment()[:, 10]
    assert (
        apply_operations(batch, torch.arange(14), strength, FILL, select=True).shape == batch.shape
    )


@pytest.mark.parametrize("policy", ["trivial", "rand"])
def test_strengths_are_torchvisions(policy: str) -> None:
    if policy == "trivial":
        table = strengths_of_trivial_augment()
        space = transforms.TrivialAugmentWide()._augmentation_space(31)
    else:
        table = strengths_of_rand_augment(SIZE)
        space = transforms.RandAugment()._augmentation_space(31, SIZE)
    assert list(space) == NAMES
    for operation, (name, (strengths, signed)) in zip(Operation, space.items(), strict=True):
        if name in ("TranslateX", "TranslateY"):
            strengths = strengths.trunc()
        torch.testing.assert_close(table[operation], strengths.float().expand(31))
        assert (operation in SIGNED) == signed


def test_trivial_augment_draws_one_operation_of_any_strength() -> None:
    operation, strength = draw_operations(None, EpochNumbers(100_000, 0, 0), SIZE)
    assert operation.shape == strength.shape == (100_000, 1)
    counts = Counter(operation[:, 0].tolist())
    assert set(counts) == set(Operation)
    for count in counts.values():
        assert count / 100_000 == pytest.approx(1 / 14, abs=0.005)
    table = strengths_of_trivial_augment()
    for kind in (Operation.ROTATE, Operation.SOLARIZE):
        drawn = strength[operation == kind]
        values, count = drawn.unique(return_counts=True)
        signs = (1, -1) if kind in SIGNED else (1,)
        expected = {round(s * one, 3) for one in table[kind].tolist() for s in signs}
        assert {round(value, 3) for value in values.tolist()} == expected
        assert count.min() > 0.5 * len(drawn) / len(expected)


def test_rand_augment_draws_several_of_one_strength() -> None:
    options = RandAugment(operations=3, magnitude=12)
    operation, strength = draw_operations(options, EpochNumbers(20_000, 0, 0), SIZE)
    assert operation.shape == (20_000, 3)
    table = strengths_of_rand_augment(SIZE)[:, 12]
    torch.testing.assert_close(strength.abs(), table[operation])
    negative = (strength < 0)[operation == Operation.SHEAR_X]
    assert negative.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (strength[operation >= Operation.POSTERIZE] >= 0).all()
    pairs = Counter(map(tuple, operation[:, :2].tolist()))
    assert len(pairs) == 14 * 14
