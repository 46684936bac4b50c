"""What a training's augmentation makes of some images, by the functions of the training itself."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imagepipe.augmentation.batches import prepare_batch
from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.resizing import resize_images, to_bytes
from imagepipe.augmentation.transforms import draw_augmentation
from imagepipe.training.build import network_image_size
from imagepipe.training.sampling import BalancedSampling, epoch_order
from imagepipe.training.schedule import TrainingSchedule
from imagepipe.training.state import TrainingData, TrainingSpec

MAX_EXAMPLES = 10


@dataclass(frozen=True)
class Variant:
    """What an epoch shows of an image: uint8 [h, w, 3], smaller where the recipe has it smaller.

    If it is mixed, `lam` is its own share, and `partner` the row of the other image.
    """

    picture: np.ndarray
    partner: int | None = None
    lam: float = 1.0


@dataclass(frozen=True)
class Example:
    """A training image at a row of the array: as it is, uint8 [H, W, 3], and in some epochs.

    A variant is None if the image does not come in that epoch: with balanced sampling, or in a last
    batch that is dropped.
    """

    row: int
    original: np.ndarray
    variants: list[Variant | None]


def shown_epochs(epochs: int) -> list[int]:
    """Return the first two epochs and the last, counted from 0."""
    return sorted({0, min(1, epochs - 1), epochs - 1})


def augmentation_examples(
    data: TrainingData, spec: TrainingSpec, labels: Sequence[str]
) -> list[Example]:
    """Return a few training images, of different classes if possible, and their variants.

    labels: the label of each image in words, as in the table of the array.
    """
    recipe, num_images = spec.recipe, len(data.train_rows)
    sampling = None
    if recipe.sampling == "balanced":
        sampling = BalancedSampling.from_labels(data.train_labels, data.num_classes)
    num_seen = TrainingSchedule(recipe, num_images).images_per_epoch
    epochs = shown_epochs(recipe.epochs)
    orders = [epoch_order(num_images, sampling, spec.seed, epoch) for epoch in epochs]
    positions = np.stack([_first_positions(order[:num_seen], num_images) for order, _ in orders])
    train_labels = [labels[row] for row in data.train_rows]
    chosen = choose_examples(train_labels, positions.min(axis=0) >= 0)
    variants = [
        _variants(data, spec, epoch, *order, positions=places[chosen])
        for epoch, order, places in zip(epochs, orders, positions, strict=True)
    ]
    rows = data.train_rows[chosen]
    images = torch.from_numpy(data.images[rows])
    size = network_image_size(recipe, images.shape[1:3])
    originals = resize_images(images, size, spec.interpolation).numpy()
    return [
        Example(int(row), original, list(of_image))
        for row, original, *of_image in zip(rows, originals, *variants, strict=True)
    ]


def choose_examples(labels: Sequence[str], preferred: np.ndarray) -> list[int]:
    """Return the indices of a few images, sorted by label, from as many classes as possible.

    preferred: bool [N], the images to take if a class has one. Of more classes than images are
    asked for, those at equal distances in the alphabet are taken.
    """
    of_class = defaultdict(list)
    for index in np.argsort(~preferred, kind="stable"):
        of_class[labels[index]].append(int(index))
    names = sorted(of_class)
    if len(names) > MAX_EXAMPLES:
        names = [names[i * len(names) // MAX_EXAMPLES] for i in range(MAX_EXAMPLES)]
    # The first image of each class, then the second of each, and so on.
    turns = sorted((turn, name) for name in names for turn in range(len(of_class[name])))
    taken = sorted((name, turn) for turn, name in turns[:MAX_EXAMPLES])
    return [of_class[name][turn] for name, turn in taken]


def _first_positions(order: Tensor, num_images: int) -> np.ndarray:
    """Return where each image first comes in an epoch's order, int64 [N]; −1: nowhere."""
    positions = np.full(num_images, -1)
    positions[order.numpy()[::-1]] = np.arange(len(order))[::-1]
    return positions


def _variants(
    data: TrainingData,
    spec: TrainingSpec,
    epoch: int,
    order: Tensor,
    draw_of: Tensor,
    positions: np.ndarray,
) -> list[Variant | None]:
    """Return what the network sees at some positions of an epoch, as `loop.run_step` makes it."""
    schedule = TrainingSchedule(spec.recipe, len(data.train_rows))
    options = spec.recipe.augmentation
    stored_size = data.images.shape[1:3]
    variants: list[Variant | None] = [None] * len(positions)
    comes = positions >= 0
    if not comes.any():
        return variants
    shown = torch.from_numpy(positions[comes])
    # An image's partner, with which it is mixed, is at the other end of its batch: of the whole one
    # in training, and also of this small one.
    step = shown // schedule.batch_size
    ends = [schedule.images_before(i) + schedule.images_before(i + 1) - 1 for i in step.tolist()]
    batch = torch.cat((shown, (torch.tensor(ends) - shown).flip(0)))
    rows = torch.from_numpy(data.train_rows)[order[batch]]
    draws = draw_augmentation(options, len(data.train_rows), stored_size, spec.seed, epoch)
    normalize = Normalize.from_statistics(spec.mean, spec.std, torch.device("cpu"))
    images, mixed = prepare_batch(
        torch.from_numpy(data.images[rows.numpy()]),
        rows,  # as labels: so `mixed` has the partner's row
        options,
        draws.select(draw_of[batch]),
        normalize,
        network_image_size(spec.recipe, stored_size),
        schedule.image_scale(epoch),
        spec.interpolation,
    )
    pictures = to_bytes(normalize.undo(images).permute(0, 2, 3, 1)).numpy()
    for i, place in enumerate(np.flatnonzero(comes)):
        variants[place] = Variant(pictures[i])
        if mixed.partner_labels is not None and mixed.lam is not None:
            partner, lam = int(mixed.partner_labels[i]), float(mixed.lam[i])
            variants[place] = Variant(pictures[i], partner, lam)
    return variants
