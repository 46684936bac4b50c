"""From the stored images of a batch to what the network is trained on."""

from collections.abc import Sequence

from torch import Tensor

from imagepipe.augmentation.mixing import MixedLabels, mix_batch
from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.resizing import resize_images
from imagepipe.augmentation.transforms import AugmentationDraws, augment
from imagepipe.config.recipe import Augmentation


def prepare_batch(
    images: Tensor,
    labels: Tensor,
    options: Augmentation,
    draws: AugmentationDraws,
    normalize: Normalize,
    image_size: Sequence[int],
    scale: float,
) -> tuple[Tensor, MixedLabels]:
    """Return normalized float32 images [B, 3, h, w] and their targets.

    images: uint8 [B, H, W, 3]. labels: int64 [B], or uint8 [B, classes]. They are resized to the
    height and width `image_size`, augmented, resized by `scale`, and mixed.
    """
    resized = resize_images(images, image_size)
    augmented = augment(resized, options, draws, normalize, scale)
    return mix_batch(augmented, labels, options, draws)
