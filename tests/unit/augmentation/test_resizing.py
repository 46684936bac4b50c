"""Images that are enlarged on the device, against Pillow's."""

import numpy as np
import pytest
import torch
from PIL import Image

from image_builders import noise
from imagepipe.augmentation.resizing import resize_images
from imagepipe.config.weights import Interpolation


def test_images_of_the_size_come_back_as_they_are() -> None:
    images = noise(3)
    assert resize_images(images, [8, 8]) is images
    assert resize_images(images, (8, 8)) is images


@pytest.mark.parametrize(
    ("size", "target"), [((8, 8), (20, 20)), ((9, 14), (12, 33)), ((30, 20), (17, 20))]
)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_other_sizes_are_as_by_pillow(
    size: tuple[int, int], target: tuple[int, int], interpolation: Interpolation
) -> None:
    images = torch.randint(0, 256, (4, *size, 3), dtype=torch.uint8)
    results = resize_images(images, target, interpolation)
    assert (results.dtype, results.shape) == (torch.uint8, (4, *target, 3))
    for image, result in zip(images, results, strict=True):
        method = Image.Resampling[interpolation.upper()]
        expected = Image.fromarray(image.numpy()).resize(target[::-1], method)
        assert np.abs(result.numpy().astype(int) - np.asarray(expected)).max() <= 2


def test_an_image_does_not_depend_on_its_batch() -> None:
    images = noise(7)
    whole = resize_images(images, (13, 21))
    for index in range(7):
        one = resize_images(images[index : index + 1], (13, 21))
        assert torch.equal(one[0], whole[index])
    assert torch.equal(resize_images(images, (13, 21)), whole)
