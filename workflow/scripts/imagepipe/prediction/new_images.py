"""Trained models for new images: what `imagepipe.load` returns, and `imagepipe predict` uses."""

import io
import logging
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps
from torch import Tensor, nn

from imagepipe.config.recipe import Precision
from imagepipe.dataset.decoding import BadImage, decode
from imagepipe.dataset.fitting import Target
from imagepipe.device.cpu_precision import NetworkUse
from imagepipe.device.devices import (
    choose_precision,
    chosen_device,
    device_name,
    set_arithmetic,
)
from imagepipe.device.memory import full_memory_message, largest_that_fits, memory_is_full
from imagepipe.errors import UserError
from imagepipe.metrics.decisions import NO_THRESHOLDS, Thresholds, decide, read_thresholds
from imagepipe.models.model_files import ModelDescription, load_model
from imagepipe.prediction.image_files import Load, LoadedImages, NewImages, find_images
from imagepipe.prediction.logits import Predictions
from imagepipe.prediction.predict import images_at_once, model_logits
from imagepipe.progress import counter

logger = logging.getLogger(__name__)

# That of the rule `predict`: with other batches, logits differ in their last bits.
BATCH_SIZE = 500

# A file, folder, archive or list of paths; an opened image; or pixels, uint8 [H, W, 3].
AnyImage = str | os.PathLike[str] | Image.Image | np.ndarray


@dataclass(frozen=True)
class Reading:
    """How images are read and predicted.

    on_bad: called with the name of an image that cannot be read, and what is wrong with it.
    salvage: take what can be decoded of a damaged image. threads: decode in as many; None is one
    for each core.
    """

    on_bad: Callable[[str, str], None]
    batch_size: int = BATCH_SIZE
    salvage: bool = False
    threads: int | None = None


@dataclass(frozen=True)
class Prediction:
    """The models' answer for an image.

    path: the image's, or "" for one in memory. label: its class; where an image may have several
    classes, all of these, joined by "|". probability: the label's, or that of the likeliest class
    of several. probabilities: those of all classes.
    """

    path: str
    label: str
    probability: float
    probabilities: dict[str, float]

    def top(self, k: int) -> list[tuple[str, float]]:
        """Return the k likeliest classes and their probabilities, the likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:k]


@dataclass(frozen=True)
class Predictor:
    """Models of the same classes, whose probabilities are averaged.

    thresholds: how probabilities become labels, if not by the largest (with several labels: at
    least 0.5). device: auto, cpu, cuda or mps. precision: as in recipes.
    """

    models: Sequence[tuple[nn.Module, ModelDescription]]
    thresholds: Thresholds | None = None
    device: str = "auto"
    precision: Precision = "auto"

    @property
    def decisions(self) -> Thresholds:
        """How probabilities become labels."""
        return self.thresholds or NO_THRESHOLDS

    @property
    def classes(self) -> list[str]:
        return self.models[0][1].classes

    @property
    def several_labels(self) -> bool:
        """Whether an image may have several classes, or none."""
        return self.models[0][1].several_labels

    def predict(
        self,
        images: AnyImage | Sequence[AnyImage],
        *,
        batch_size: int = BATCH_SIZE,
        skip_bad: bool = False,
    ) -> list[Prediction]:
        """Predict images in the models' own preprocessing and test-time views.

        An image is a path (of a file, a folder, an archive, or a CSV file that lists paths), an
        opened `PIL.Image`, or an array uint8 [H, W, 3] of red, green and blue. The predictions are
        in the images' order; folders are in natural order. Raises `UserError` for an image that
        cannot be read; with `skip_bad`, it is left out, with a warning.
        """
        if isinstance(images, str | os.PathLike | Image.Image | np.ndarray):
            images = [images]
        found: list[NewImages] = []
        for image in images:
            if isinstance(image, str | os.PathLike):
                found += find_images([Path(image)])
            else:
                found.append(LoadedImages([""], [partial(_encoded, image)]))
        return self.predict_found(found, Reading(_warn if skip_bad else _refuse, batch_size))

    def predict_found(self, found: Sequence[NewImages], reading: Reading) -> list[Prediction]:
        """Predict those images that can be read, in their order."""
        by_model = self.logits(found, reading)
        mean = np.sum([one.probabilities() for one in by_model], axis=0) / len(by_model)
        chosen = decide(mean, self.classes, self.decisions, several_labels=self.several_labels)
        if self.several_labels:
            likeliest = mean.argmax(axis=1)
            labels = ["|".join(self.classes[c] for c in np.flatnonzero(row)) for row in chosen]
        else:
            likeliest = chosen
            labels = [self.classes[c] for c in chosen]
        return [
            Prediction(name, label, row[best], dict(zip(self.classes, row, strict=True)))
            for name, label, best, row in zip(
                by_model[0].ids.tolist(), labels, likeliest, mean.tolist(), strict=True
            )
        ]

    def logits(self, found: Sequence[NewImages], reading: Reading) -> list[Predictions]:
        """Return each model's logits of those images that can be read, in their order.

        Images are decoded while the models predict the batch before. No more than two batches are
        in memory.
        """
        descriptions = [description for _, description in self.models]
        targets = list(dict.fromkeys(map(_target, descriptions)))
        # The models' own batches, so that they have the images that they have in rule `predict`.
        at_once = max(images_at_once(reading.batch_size, one.image_size) for one in descriptions)
        names: list[str] = []
        chunks: list[list[Tensor]] = [[] for _ in self.models]
        images = decoded_images(found, targets, reading, ahead=at_once)
        total = sum(len(some.names) for some in found)
        with (
            _same_decoding(reading.salvage),
            chosen_device(self.device, gpus=1) as device,
            counter(total=total, description="predict", unit="images") as bar,
        ):
            set_arithmetic(device, tf32=False, deterministic=True)
            precisions = []
            for model, description in self.models:
                size = description.image_size
                use = NetworkUse.from_model(description.model, size, training=False)
                precisions.append(choose_precision(self.precision, device, use))
                model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            for arithmetic, reason in dict.fromkeys(precisions):
                logger.info("predict on %s in %s (%s)", device_name(device), arithmetic, reason)
            predict = partial(_fitting_logits, size=reading.batch_size, device=device)
            while batch := list(islice(images, at_once)):
                names += [name for name, _ in batch]
                pixels = {
                    target: _stack([of_image[index] for _, of_image in batch], target)
                    for index, target in enumerate(targets)
                }
                for (model, description), (arithmetic, _), logits in zip(
                    self.models, precisions, chunks, strict=True
                ):
                    of_model = pixels[_target(description)]
                    logits.append(predict(model, description, of_model, precision=arithmetic))
                bar.advance(len(batch))
        ids = np.array(names, dtype=np.str_)
        classes = np.array(self.classes)
        none = torch.zeros(0, len(classes))
        return [
            Predictions(ids, torch.cat([none, *logits]).numpy(), classes, self.several_labels)
            for logits in chunks
        ]


def load(
    *paths: str | os.PathLike[str],
    thresholds: str | os.PathLike[str] | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> Predictor:
    """Load model files (model.safetensors) to predict images with them together.

    thresholds: the run's thresholds.json, if its metric needs one. Without, the label is the
    likeliest class, or all with a probability of at least 0.5 where there may be several. Raises
    `UserError` if a file is not a model, or if the models have different classes.
    """
    if not paths:
        raise TypeError("load() needs the path of a model")
    for path in paths:
        if not Path(path).is_file():
            raise UserError(f"{path}: the model does not exist; correct the path")
    models = [load_model(Path(path)) for path in paths]
    _, first = models[0]
    for path, (_, other) in zip(paths, models, strict=True):
        if (other.classes, other.several_labels) != (first.classes, first.several_labels):
            raise UserError(
                f"{path}: has other classes than {paths[0]}; predict with models of one dataset"
            )
    chosen = read_thresholds(Path(thresholds)) if thresholds else None
    return Predictor(models, chosen, device, precision)


def decoded_images(
    found: Sequence[NewImages], targets: Sequence[Target], reading: Reading, ahead: int
) -> Iterator[tuple[str, list[bytes]]]:
    """Yield each readable image's name, and its pixels for each target, in order.

    Threads decode up to `ahead` images before they are asked for. Decoders and file systems do not
    hold Python's lock, so that processes would gain little, and they would need a guarded main
    module in a user's program.
    """
    waiting: deque[tuple[str, Future[list[bytes]]]] = deque()

    def first() -> Iterator[tuple[str, list[bytes]]]:
        name, future = waiting.popleft()
        problem = future.exception()
        if isinstance(problem, BadImage):
            reading.on_bad(name, problem.problem)
        else:
            yield name, future.result()

    with ThreadPoolExecutor(reading.threads or available_cores()) as pool:
        try:
            for images in found:
                for name, load in zip(images.names, images.loads(), strict=True):
                    waiting.append((name, pool.submit(_decode, load, targets, reading.salvage)))
                    if len(waiting) > ahead:
                        yield from first()
            while waiting:
                yield from first()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _same_decoding(salvage: bool) -> Iterator[None]:
    """Set for all threads what the decoder sets for each image, or they would undo it mutually."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        ImageFile.LOAD_TRUNCATED_IMAGES = salvage
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _decode(load: Load, targets: Sequence[Target], salvage: bool) -> list[bytes]:
    content = load()
    return [decode(content, target, salvage=salvage)[0] for target in targets]


def _target(description: ModelDescription) -> Target:
    height, width = description.stored_size
    return Target(height, width, description.fit)


def _stack(pixels: Sequence[bytes], target: Target) -> Tensor:
    """Return uint8 [N, H, W, 3]."""
    # A bytearray, because PyTorch wants memory that could be written to.
    joined = np.frombuffer(bytearray().join(pixels), np.uint8)
    return torch.from_numpy(joined.reshape(len(pixels), target.height, target.width, 3))


def _fitting_logits(
    model: nn.Module,
    description: ModelDescription,
    images: Tensor,
    *,
    size: int,
    precision: str,
    device: torch.device,
) -> Tensor:
    """Return logits, by a batch size of `size`, or of less if the device's memory is full."""
    predict = partial(model_logits, model, description, precision=precision)
    try:
        return predict(images, batch_size=size)
    except RuntimeError as error:
        if not memory_is_full(error):
            raise
    fits = largest_that_fits(lambda fewer: predict(images[:fewer], batch_size=fewer), size)
    message = full_memory_message(device_name(device), "the batch size to {}", size, fits)
    if fits is None:
        raise UserError(message)
    logger.warning("%s, to be as fast as can be", message)
    return predict(images, batch_size=fits)


def _encoded(image: Image.Image | np.ndarray) -> bytes:
    """Return the file of an image in memory, so that it takes the way of all others."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise BadImage(
                f"is an array {image.dtype} {list(image.shape)}, not uint8 [height, width, 3]",
                "convert it",
            )
        image = Image.fromarray(image)
    content = io.BytesIO()
    upright = ImageOps.exif_transpose(image)
    try:
        upright.save(content, "PNG", compress_level=1)
    except OSError:  # a mode that PNG does not have, such as CMYK
        upright.convert("RGB").save(content, "PNG", compress_level=1)
    return content.getvalue()


def _warn(name: str, problem: str) -> None:
    logger.warning("%s: %s", name or "an image in memory", problem)


def _refuse(name: str, problem: str) -> None:
    raise UserError(
        f"{name or 'an image in memory'}: {problem}; replace it, or leave it out by skip_bad=True"
    )
