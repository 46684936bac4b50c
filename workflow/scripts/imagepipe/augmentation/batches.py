"""From the stored images of a batch to what the network is trained on."""

from collections.abc import Sequence

from torch import Tensor

from imagepipe.augmentation.mixing import MixedLabels, mix_batch
from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.transforms import AugmentationDraws, augment
from imagepipe.config.recipe import Augmentation
from imagepipe.config.weights import Interpolation


def prepare_batch(
    images: Tensor,
    labels: Tensor,
    options: Augmentation,
    draws: AugmentationDraws,
    normalize: Normalize,
    image_size: Sequence[int],
    scale: float,
    interpolation: Interpolation = "bilinear",
) -> tuple[Tensor, MixedLabels]:
    """Return normalized float32 images [B, 3, h, w] and their targets.

    images: uint8 [B, H, W, 3], as they are stored. labels: int64 [B], or uint8 [B, classes]. They
    are augmented, resized to the height and width `image_size` times `scale`, and mixed.
    """
    augmented = augment(images, options, draws, normalize, scale, image_size, interpolation)
    return mix_batch(augmented, labels, options, draws)
