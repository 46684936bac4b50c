"""Logits of images, computed in batches on the model's device."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagepipe.augmentation.normalize import Normalize
from imagepipe.dataset.packed_images import read_packed
from imagepipe.device.devices import (
    autocast,
    choose_precision,
    chosen_device,
    device_name,
    set_arithmetic,
)
from imagepipe.device.memory import (
    full_memory_message,
    keep_freed_memory,
    largest_that_fits,
    memory_is_full,
)
from imagepipe.errors import UserError
from imagepipe.models.model_files import load_model
from imagepipe.prediction.logits import Predictions, write_predictions
from imagepipe.progress import progress

logger = logging.getLogger(__name__)

# Where the largest probability is so far above the second, a shift by a pixel hardly ever changes
# which one it is.
SURE_FROM = 0.25


@torch.inference_mode()
def predict_logits(
    model: nn.Module,
    images: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    batch_size: int,
    precision: str = "fp32",
    test_time_augmentation: str = "none",
    description: str = "predict",
    before_each_batch: Callable[[], None] = lambda: None,
) -> Tensor:
    """Return float32 logits [N, classes] of uint8 images [N, H, W, 3], on the CPU.

    The model is put into evaluation mode, and back into the mode that it was in. For the test-time
    augmentations see `mean_over_views`.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    normalize = Normalize.from_statistics(mean, std, device)
    parts: list[Tensor] = []
    starts = range(0, len(images), batch_size)
    for start in progress(starts, total=len(starts), description=description, unit="batches"):
        before_each_batch()
        batch = images[start : start + batch_size].to(device).permute(0, 3, 1, 2)
        batch = normalize(batch)
        with autocast(device, precision):
            logits = mean_over_views(model, batch, test_time_augmentation)
        parts.append(logits.cpu())
    model.train(was_training)
    return torch.cat(parts)


def mean_over_views(model: nn.Module, images: Tensor, test_time_augmentation: str) -> Tensor:
    """Return float32 logits [B, classes] of float images [B, 3, H, W], the mean over some views.

    none: of the image alone. flip: of it and its mirror image. flip_and_shift: of these two, and
    where they leave it unsure (see `unsure`), half of the weight is on them, and half on both of
    them shifted by one pixel up and left, and down and right (as airbench has it, but for the
    order: here the mirror image is shifted, and not the shifted image mirrored, so that an image
    and its mirror image have the same six views).
    """
    if test_time_augmentation == "none":
        logits: Tensor = model(images).float()
        return logits
    logits = torch.stack([model(view).float() for view in (images, images.flip(-1))]).mean(dim=0)
    if test_time_augmentation == "flip":
        return logits
    rows = unsure(logits).nonzero()[:, 0]
    if len(rows):
        logits[rows] = (logits[rows] + mean_over_shifts(model, images[rows])) / 2
    return logits


def unsure(logits: Tensor) -> Tensor:
    """Say of logits [B, classes] whether the two largest probabilities are close: bool [B].

    That more views are only for those images is from the record runs of airbench.
    """
    largest = logits.softmax(dim=1).topk(min(2, logits.shape[1])).values
    return largest[:, 0] - largest[:, 1:].sum(dim=1) < SURE_FROM


def mean_over_shifts(model: nn.Module, images: Tensor) -> Tensor:
    """Return the mean logits over images [B, 3, H, W] and their mirror images, shifted two ways."""
    height, width = images.shape[-2:]
    shifted = []
    for view in (images, images.flip(-1)):
        padded = F.pad(view, (1, 1, 1, 1), mode="reflect")
        shifted += [padded[..., :height, :width], padded[..., 2:, 2:]]
    return torch.stack([model(view).float() for view in shifted]).mean(dim=0)


def predict_test(
    model_file: Path,
    images: Path,
    table: Path,
    target: Path,
    *,
    batch_size: int,
    precision_option: str,
    tf32: bool,
    deterministic: bool,
    device_option: str,
    gpus: int,
    threads: int,
) -> None:
    """Write the logits of a packed array's images, with their ids.

    Raises `UserError` if the model was trained on images of another size, or if a batch does not
    fit into the device's memory.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    model, description = load_model(model_file)
    packed = read_packed(images, table)
    if packed.images.shape[1:3] != (description.image_size,) * 2:
        raise UserError(
            f"{model_file}: was trained on images of {description.image_size} pixels, and "
            f"{images} holds images of {packed.images.shape[1]}; train it again"
        )
    test_images = torch.from_numpy(packed.images)
    with chosen_device(device_option, gpus) as device:
        precision, reason = choose_precision(precision_option, device)
        set_arithmetic(device, tf32=tf32, deterministic=deterministic)
        logger.info("predict on %s in %s (%s)", device_name(device), precision, reason)
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

        def predict(batch_size: int, images: Tensor) -> Tensor:
            return predict_logits(
                model,
                images,
                description.mean,
                description.std,
                batch_size=batch_size,
                precision=precision,
                test_time_augmentation=description.test_time_augmentation,
            )

        logits = None
        try:
            logits = predict(batch_size, test_images)
        except RuntimeError as error:
            if not memory_is_full(error):
                raise
        if logits is None:
            fits = largest_that_fits(lambda size: predict(size, test_images[:size]), batch_size)
            key = "prediction_batch_size={}"
            raise UserError(full_memory_message(device_name(device), key, batch_size, fits))
    ids = np.array(packed.ids)
    write_predictions(target, Predictions(ids, logits.numpy(), np.array(description.classes)))
