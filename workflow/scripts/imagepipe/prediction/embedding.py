"""The features of all images, computed once for all heads on the same frozen network."""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.resizing import resize_images
from imagepipe.config.recipe import FrozenNetwork, Precision
from imagepipe.config.weights import Interpolation, WeightsRecord
from imagepipe.dataset.packed import PackedFile
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
from imagepipe.errors import Stopped, UserError
from imagepipe.files import atomic_write
from imagepipe.interruption import stop_requests
from imagepipe.models.folding import fold_frozen_batch_norm
from imagepipe.models.frozen_features import create_frozen_network, image_features
from imagepipe.models.torchvision_timm import SIZE_ERRORS, size_error
from imagepipe.prediction.features import check_finite
from imagepipe.prediction.predict import images_at_once
from imagepipe.progress import Counter, counter

logger = logging.getLogger(__name__)

# Larger batches leave a processor's cache: EfficientNet-Lite0 takes a quarter more time by 96
# images of 160×160 pixels than by 16.
CPU_BATCH_PIXELS = 16 * 160 * 160


class Embedder:
    """A frozen network on a device, with all that turns stored images into its features."""

    def __init__(
        self,
        options: FrozenNetwork,
        weights: Path,
        mean: Sequence[float],
        std: Sequence[float],
        interpolation: Interpolation,
        image_size: Sequence[int],
        device: torch.device,
        precision: str,
    ) -> None:
        self.network, self.num_features = create_frozen_network(options, weights, image_size)
        self.network.eval().requires_grad_(False)
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.flip, self.image_size, self.precision = options.flip, image_size, precision
        self.interpolation, self.device = interpolation, device
        self.normalize = Normalize.from_statistics(mean, std, device)
        example = torch.zeros(2, 3, *image_size, device=device)
        fold_frozen_batch_norm(self.network, example)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Return features, float32 [B, D] on the device, of stored images, uint8 [B, h, w, 3]."""
        images = resize_images(images.to(self.device), self.image_size, self.interpolation)
        batch = self.normalize(images.permute(0, 3, 1, 2))
        batch = batch.contiguous(memory_format=torch.channels_last)
        with autocast(self.device, self.precision):
            return image_features(self.network, batch, flip=self.flip)


def embed(
    options: FrozenNetwork,
    weights: Path,
    record: Path,
    targets: dict[Path, Path],
    *,
    image_size: Sequence[int] | None,
    batch_size: int,
    precision: Precision,
    tf32: bool,
    deterministic: bool,
    device: str,
    gpus: int,
    threads: int,
) -> None:
    """Write the features of packed arrays, float32 [N, D], in the order of their images.

    targets: the file to write for each packed array. image_size: height and width at which the
    network sees images; None takes them as they are stored. Images are normalized as the weights'
    `record` says. No more than a few batches are in memory. Raises `UserError` if the network does
    not take images of that size, or a batch does not fit into the memory, and `Stopped` when a
    signal asks to stop, without a file.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    about = WeightsRecord.read(record)
    packed = {PackedFile.from_array(source): target for source, target in targets.items()}
    size = image_size or next(iter(packed)).shape[1:3]
    with chosen_device(device, gpus) as chosen:
        use = NetworkUse.from_model(options, size, training=False)
        set_arithmetic(chosen, tf32=tf32, deterministic=deterministic)
        try:
            arithmetic, reason = choose_precision(precision, chosen, use)
            embedder = Embedder(
                *(options, weights, about.mean, about.std, about.interpolation),
                *(size, chosen, arithmetic),
            )
        except SIZE_ERRORS as error:
            if memory_is_full(error):
                raise
            raise size_error("model.on", options.architecture, size, error) from None
        logger.info("embed on %s in %s (%s)", device_name(chosen), arithmetic, reason)
        at_once = images_at_once(batch_size, size)
        if chosen.type == "cpu":
            at_once = min(at_once, max(1, CPU_BATCH_PIXELS // (size[0] * size[1])))
        is_full = False
        try:
            with (
                stop_requests() as stop,
                counter(total=sum(map(len, packed)), description="embed", unit="images") as bar,
                # Neither file is there before both are.
                ExitStack() as files,
            ):

                def stop_if_asked() -> None:
                    if stop.signal is not None:
                        message = f"stopped by {stop.signal.name}; the same command starts again"
                        raise Stopped(message, stop.signal)

                for images, target in packed.items():
                    temporary = files.enter_context(atomic_write(target))
                    write_features(embedder, images, temporary, at_once, bar, stop_if_asked)
        except RuntimeError as error:
            if not memory_is_full(error):
                raise
            is_full = True
        # Outside of `except`, whose error keeps the full memory alive.
        if is_full:
            first = next(iter(packed))

            def attempt(fewer: int) -> None:
                embedder(torch.from_numpy(first.read(0, images_at_once(fewer, size))))

            fits = largest_that_fits(attempt, batch_size)
            key = "prediction_batch_size={}"
            raise UserError(full_memory_message(device_name(chosen), key, batch_size, fits))


def write_features(
    embedder: Embedder,
    images: PackedFile,
    target: Path,
    batch_size: int,
    bar: Counter,
    before_each_batch: Callable[[], None],
) -> None:
    """Write an .npy file of the features of all images, a batch at a time.

    Raises `UserError` if a feature is not finite.
    """
    with target.open("wb") as file:
        shape = (len(images), embedder.num_features)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        pending: Tensor | None = None
        for first in range(0, len(images), batch_size):
            before_each_batch()
            batch = images.read(first, min(batch_size, len(images) - first))
            features = embedder(torch.from_numpy(batch))
            # A GPU computes the next batch while this one is written.
            if pending is not None:
                file.write(finite_bytes(pending))
            pending = features
            bar.advance(len(batch))
        if pending is not None:
            file.write(finite_bytes(pending))


def finite_bytes(features: Tensor) -> bytes:
    """Return the bytes of features. Raises `UserError` if one is not finite."""
    check_finite(features)
    return features.cpu().numpy().astype("<f4").tobytes()
