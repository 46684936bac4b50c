"""Logits of images, computed in batches on the model's device."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.resizing import resize_images
from imagepipe.config.recipe import Precision, TestTimeAugmentation
from imagepipe.config.weights import Interpolation
from imagepipe.dataset.packed import read_packed
from imagepipe.device.cpu_precision import NetworkUse
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
from imagepipe.models.model_files import ModelDescription, load_model
from imagepipe.prediction.logits import Predictions, write_predictions
from imagepipe.prediction.views import mean_over_views
from imagepipe.progress import progress

logger = logging.getLogger(__name__)

# Batches of larger images have fewer of them.
PIXELS_OF_FULL_BATCHES = 64 * 64


def images_at_once(batch_size: int, image_size: Sequence[int]) -> int:
    """Return how many images of a height and width make a batch of `predict_logits`."""
    height, width = image_size
    return max(1, min(batch_size, batch_size * PIXELS_OF_FULL_BATCHES // (height * width)))


@torch.inference_mode()
def predict_logits(
    model: nn.Module,
    images: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    batch_size: int,
    rows: Tensor | None = None,
    image_size: Sequence[int] | None = None,
    interpolation: Interpolation = "bilinear",
    several_labels: bool = False,
    precision: str = "fp32",
    test_time_augmentation: TestTimeAugmentation = "none",
    description: str = "predict",
    before_each_batch: Callable[[], None] = lambda: None,
) -> Tensor:
    """Return float32 logits [N, classes], on the CPU, of uint8 images [N, H, W, 3].

    mean, std: those of each channel in 0…1. batch_size: images at once, or fewer if they have more
    than 64×64 pixels, so that they take as much memory. rows: int64 [N] on the device of `images`,
    those to take; None takes all. image_size: the height and width to which images are resized, a
    batch at a time; None leaves them as they are. The model predicts in evaluation mode, and is
    left in the mode that it had.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    normalize = Normalize.from_statistics(mean, std, device)
    chunks: list[Tensor] = []
    batch_size = images_at_once(batch_size, image_size or images.shape[1:3])
    starts = range(0, len(images if rows is None else rows), batch_size)
    for start in progress(starts, total=len(starts), description=description, unit="batches"):
        before_each_batch()
        chunk = slice(start, start + batch_size)
        batch = images[chunk if rows is None else rows[chunk]].to(device)
        if image_size is not None:
            batch = resize_images(batch, image_size, interpolation)
        batch = normalize(batch.permute(0, 3, 1, 2))
        with autocast(device, precision):
            logits = mean_over_views(
                model, batch, test_time_augmentation, several_labels=several_labels
            )
        chunks.append(logits.cpu())
    model.train(was_training)
    return torch.cat(chunks)


def model_logits(
    model: nn.Module,
    description: ModelDescription,
    images: Tensor,
    *,
    batch_size: int,
    precision: str = "fp32",
) -> Tensor:
    """Return a model's float32 logits [N, classes], on the CPU, of uint8 images [N, h, w, 3].

    The images have the model's `stored_size`; all that follows is as its description says.
    `precision` is fp32, bf16 or fp16, as `choose_precision` gives it.
    """
    return predict_logits(
        model,
        images,
        description.mean,
        description.std,
        batch_size=batch_size,
        image_size=description.image_size,
        interpolation=description.interpolation,
        several_labels=description.several_labels,
        precision=precision,
        test_time_augmentation=description.test_time_augmentation,
    )


def predict_test(
    model_file: Path,
    images: Path,
    table: Path,
    target: Path,
    *,
    batch_size: int,
    precision: Precision,
    tf32: bool,
    deterministic: bool,
    device: str,
    gpus: int,
    threads: int,
) -> None:
    """Write the logits of a packed array's images, with their ids.

    Raises `UserError` if the images are not of the model's size, or a batch does not fit into the
    device's memory.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    model, description = load_model(model_file)
    packed = read_packed(images, table)
    stored, (height, width) = description.stored_size, packed.images.shape[1:3]
    if [height, width] != stored:
        raise UserError(
            f"{model_file}: was trained on images of {stored[0]}×{stored[1]} pixels, and {images} "
            f"holds images of {height}×{width}; train it again"
        )
    test_images = torch.from_numpy(packed.images)
    with chosen_device(device, gpus) as chosen:
        use = NetworkUse.from_model(description.model, description.image_size, training=False)
        arithmetic, reason = choose_precision(precision, chosen, use)
        set_arithmetic(chosen, tf32=tf32, deterministic=deterministic)
        logger.info("predict on %s in %s (%s)", device_name(chosen), arithmetic, reason)
        model.to(chosen, memory_format=torch.channels_last)  # type: ignore[call-overload]
        predict = partial(model_logits, model, description, precision=arithmetic)
        logits = None
        try:
            logits = predict(test_images, batch_size=batch_size)
        except RuntimeError as error:
            if not memory_is_full(error):
                raise
        if logits is None:
            fits = largest_that_fits(
                lambda size: predict(test_images[:size], batch_size=size), batch_size
            )
            key = "prediction_batch_size={}"
            raise UserError(full_memory_message(device_name(chosen), key, batch_size, fits))
    ids = np.array(packed.ids)
    classes = np.array(description.classes)
    write_predictions(target, Predictions(ids, logits.numpy(), classes, description.several_labels))
