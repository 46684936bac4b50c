"""Drawing the validation set, by the rule of the book."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from imagepipe.dataset.manifests import LABEL_COLUMNS
from imagepipe.errors import UserError
from imagepipe.files import read_rows, write_rows

SPLIT_COLUMNS = ("id", "label", "split")


def write_split(labels: Path, split: Path, valid_ratio: float, split_seed: int) -> None:
    """Read `id,label`, and write `id,label,split` with `train` or `valid` in the last column.

    Raises `UserError` if no image is left to train on.
    """
    label_of = {image_id: label for _, (image_id, label) in read_rows(labels, LABEL_COLUMNS)}
    valid = draw_valid(label_of, valid_ratio, split_seed)
    if len(valid) == len(label_of):
        raise UserError(
            f"{labels}: every class has one image, which goes to the validation set; "
            "at least one class needs two images"
        )
    rows = (
        (image_id, label, "valid" if image_id in valid else "train")
        for image_id, label in label_of.items()
    )
    write_rows(split, SPLIT_COLUMNS, rows)


def draw_valid(label_of: Mapping[str, str], valid_ratio: float, split_seed: int) -> frozenset[str]:
    """Return the ids of the validation set.

    With n the number of images of the rarest class and r the ratio, every class gives
    max(⌊n·r⌋, 1) of its images (Dive into Deep Learning, `reorg_train_valid`). They are those whose
    hash with the seed is smallest. So the split is the same on every machine, for every version of
    every library, and for every order of the images.
    """
    ids_of: dict[str, list[str]] = defaultdict(list)
    for image_id, label in label_of.items():
        ids_of[label].append(image_id)
    rarest = min(len(ids) for ids in ids_of.values())
    # The ratio as it was written. As a float, 0.29 · 100 would be a little less than 29.
    valid_per_class = max(int(Fraction(str(valid_ratio)) * rarest), 1)

    def draw_order(image_id: str) -> bytes:
        return hashlib.sha256(f"{split_seed}/{image_id}".encode()).digest()

    return frozenset(
        image_id
        for ids in ids_of.values()
        for image_id in sorted(ids, key=draw_order)[:valid_per_class]
    )
