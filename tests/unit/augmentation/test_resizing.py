"""Images that are enlarged on the device, against Pillow's."""

import numpy as np
import pytest
import torch
from PIL import Image

from image_builders import noise
from imagepipe.augmentation.resizing import resize_images


def test_images_of_the_size_come_back_as_they_are() -> None:
    images = noise(3)
    assert resize_images(images, [8, 8]) is images
    assert resize_images(images, (8, 8)) is images


@pytest.mark.parametrize(
    ("size", "target"), [((8, 8), (20, 20)), ((9, 14), (12, 33)), ((30, 20), (17, 20))]
)
def test_other_sizes_are_pillows_bilinear_but_for_its_rounding(
    size: tuple[int, int], target: tuple[int, int]
) -> None:
    images = torch.randint(0, 256, (4, *size, 3), dtype=torch.uint8)
    results = resize_images(images, target)
    assert (results.dtype, results.shape) == (torch.float32, (4, *target, 3))
    for image, result in zip(images, results, strict=True):
        enlarged = Image.fromarray(image.numpy()).resize(target[::-1], Image.Resampling.BILINEAR)
        # Pillow rounds after each axis.
        assert np.abs(result.numpy() - np.asarray(enlarged)).max() <= 1.5


def test_an_image_does_not_depend_on_its_batch() -> None:
    images = noise(7)
    whole = resize_images(images, (13, 21))
    for index in range(7):
        one = resize_images(images[index : index + 1], (13, 21))
        torch.testing.assert_close(one[0], whole[index], rtol=0, atol=1e-4)
    assert torch.equal(resize_images(images, (13, 21)), whole)
