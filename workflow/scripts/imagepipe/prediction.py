"""Logits of images, computed in batches on the model's device."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from imagepipe.device import autocast, choose_device, choose_precision, device_name
from imagepipe.errors import UserError
from imagepipe.logits import Predictions, write_predictions
from imagepipe.model_files import load_model
from imagepipe.packed_images import read_packed
from imagepipe.progress import progress

logger = logging.getLogger(__name__)


def standardise(images: Tensor, means: Sequence[float], deviations: Sequence[float]) -> Tensor:
    """Turn uint8 images [B, H, W, 3] into float images [B, 3, H, W] with mean 0 and deviation 1.

    Means and deviations are those of the channels in 0…1. The result is in channels_last layout.
    """
    factor = 1 / (255 * torch.tensor(deviations, device=images.device))
    offset = torch.tensor(means, device=images.device) * 255 * factor
    return (images.float() * factor - offset).permute(0, 3, 1, 2)


@torch.inference_mode()
def predict_logits(
    model: nn.Module,
    images: Tensor,
    means: Sequence[float],
    deviations: Sequence[float],
    *,
    batch_size: int,
    precision: str = "fp32",
    test_time_augmentation: str = "none",
    description: str = "predict",
) -> Tensor:
    """Return float32 logits [N, classes] of uint8 images [N, H, W, 3], on the CPU.

    The model is put into evaluation mode, and back into the mode that it was in. With the
    test-time augmentation "flip", the logits are the mean over an image and its mirror image.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    parts: list[Tensor] = []
    starts = range(0, len(images), batch_size)
    for start in progress(starts, total=len(starts), description=description, unit="batches"):
        batch = images[start : start + batch_size].to(device)
        batch = standardise(batch, means, deviations)
        with autocast(device, precision):
            logits = model(batch).float()
            if test_time_augmentation == "flip":
                logits = (logits + model(batch.flip(-1)).float()) / 2
        parts.append(logits.cpu())
    model.train(was_training)
    return torch.cat(parts)


def predict_test(
    model_file: Path,
    images: Path,
    table: Path,
    target: Path,
    *,
    batch_size: int,
    precision_option: str,
    device_option: str,
    threads: int,
) -> None:
    """Write the logits of a packed array's images, with their ids.

    Raises `UserError` if the model was trained on images of another size.
    """
    torch.set_num_threads(threads)
    device = choose_device(device_option)
    precision = choose_precision(precision_option, device)
    model, description = load_model(model_file)
    packed = read_packed(images, table)
    if packed.images.shape[1:3] != (description.image_size,) * 2:
        raise UserError(
            f"{model_file}: was trained on images of {description.image_size} pixels, and "
            f"{images} holds images of {packed.images.shape[1]}; train it again"
        )
    logger.info("predict on %s in %s", device_name(device), precision)
    logits = predict_logits(
        model.to(device, memory_format=torch.channels_last),  # type: ignore[call-overload]
        torch.from_numpy(packed.images),
        description.channel_means,
        description.channel_deviations,
        batch_size=batch_size,
        precision=precision,
        test_time_augmentation=description.test_time_augmentation,
    )
    ids = packed.table["id"].to_numpy()
    write_predictions(target, Predictions(ids, logits.numpy(), np.array(description.classes)))
