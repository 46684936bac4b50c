"""What the stages of training read: packed images, their table, the classes, and the split."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagepipe.dataset.packed_chunks import check_packed, open_packed
from imagepipe.errors import UserError
from imagepipe.files import read_rows


@dataclass(frozen=True)
class PackedImages:
    """Images of a packed array: uint8 [N, H, W, 3] (a memory map), and the id and label of each."""

    images: np.ndarray
    ids: list[str]
    labels: list[str]


def read_packed(array: Path, table: Path) -> PackedImages:
    """Read what `pack` wrote. Raises `UserError` if array and table do not belong together."""
    # "c": PyTorch wants memory that could be written to; the file never is.
    images = open_packed(array, "c")
    rows = [row for _, row in read_rows(table, ("id", "label"))]
    check_packed(array, images, table, len(rows))
    return PackedImages(images, [image_id for image_id, _ in rows], [label for _, label in rows])


def read_classes(path: Path) -> tuple[str, ...]:
    """Return the names of the classes, in the order of the logits."""
    return tuple(path.read_text(encoding="utf-8").splitlines())


def read_split(split: Path, ids: Iterable[str]) -> list[str]:
    """Return the split, "train" or "valid", of each of some labelled images.

    Raises `UserError` if one of them has no row in the table that `splitting.write_split` wrote.
    """
    split_of = {image_id: name for _, (image_id, name) in read_rows(split, ("id", "split"))}
    try:
        return [split_of[image_id] for image_id in ids]
    except KeyError as missing:
        raise UserError(
            f"{split}: has no row for the labelled image {missing}; run again with --forcerun split"
        ) from None
