"""Changes of color on whole batches, against torchvision's image by image."""

from collections.abc import Callable

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from image_builders import noise
from imagepipe.augmentation.color import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
)

CHANGES = [
    (adjust_brightness, tv.adjust_brightness),
    (adjust_contrast, tv.adjust_contrast),
    (adjust_saturation, tv.adjust_saturation),
    (adjust_hue, tv.adjust_hue),
]
IDS = ["brightness", "contrast", "saturation", "hue"]

Change = Callable[..., torch.Tensor]


def images() -> torch.Tensor:
    """Return images [40, 3, 8, 8] in 0…1: noise, then grays, then each pure color and pairs."""
    random = noise(20, 8).permute(0, 3, 1, 2) / 255
    gray = random[:10, :1].expand(-1, 3, -1, -1)
    corners = torch.tensor([[float(n >> bit & 1) for bit in range(3)] for n in range(8)])
    pure = corners[:, :, None, None].expand(-1, -1, 8, 8)
    equal_pairs = random[:2].clone()
    equal_pairs[0, 1], equal_pairs[1, 2] = equal_pairs[0, 0], equal_pairs[1, 1]
    return torch.cat((random, gray, pure, equal_pairs))


def factors(name: str, count: int) -> torch.Tensor:
    low, high = (-0.5, 0.5) if name == "hue" else (0.0, 2.5)
    return torch.linspace(low, high, count)[torch.randperm(count)]


@pytest.mark.parametrize(("ours", "theirs"), CHANGES, ids=IDS)
def test_each_image_is_changed_as_by_torchvision(
    ours: Change, theirs: Change, request: pytest.FixtureRequest
) -> None:
    torch.manual_seed(0)
    batch = images()
    values = factors(request.node.callspec.id, len(batch))
    results = ours(batch, values)
    assert results.shape == batch.shape
    for image, value, result in zip(batch, values, results, strict=True):
        # Its own rounding of 5 · hue is of the same size.
        torch.testing.assert_close(result, theirs(image, value.item()), rtol=0, atol=2e-5)


@pytest.mark.parametrize(("ours", "theirs"), CHANGES, ids=IDS)
def test_pixels_stay_in_range_and_the_neutral_value_changes_nothing(
    ours: Change, theirs: Change, request: pytest.FixtureRequest
) -> None:
    torch.manual_seed(1)
    batch, name = images(), request.node.callspec.id
    results = ours(batch, factors(name, len(batch)))
    assert results.min() >= 0
    assert results.max() <= 1
    neutral = torch.full((len(batch),), 0.0 if name == "hue" else 1.0)
    torch.testing.assert_close(ours(batch, neutral), batch, rtol=0, atol=1e-6)
