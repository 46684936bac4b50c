"""The archive of CIFAR-10's authors, cifar-10-python.tar.gz, as numbered PNG images.

Its format is described at https://www.cs.toronto.edu/~kriz/cifar.html: pickled dictionaries with
`data`, uint8 [10000, 3072], each row the red, green and blue planes of an image, and `labels`.
"""

import io
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagepipe.archives.chunk import Chunk
from imagepipe.archives.reading import read_archive
from imagepipe.errors import UserError, one_line
from imagepipe.files import write_rows

BATCHES = {
    "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test": ("test_batch",),
}
CLASS_NAMES = "batches.meta"

# All that a pickled NumPy array needs. Anything else in a pickle could be made to run code.
ALLOWED_GLOBALS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles plain values and NumPy arrays, and refuses everything else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in ALLOWED_GLOBALS:
            raise pickle.UnpicklingError(f"it refers to {module_name}.{global_name}")
        # NumPy 2 has renamed the module, and warns of the old name.
        return super().find_class(module_name.replace("numpy.core", "numpy._core"), global_name)


@dataclass(frozen=True)
class TorontoChunk(Chunk):
    """The images of one batch, as files "SPLIT/NUMBER.png"."""

    batch: str
    image_size: tuple[int, int]

    def contents(self) -> Iterator[bytes]:
        ((_, content),) = read_archive(self.archive, lambda name: _base(name) == self.batch)
        images, _ = _batch(self.archive, self.batch, content, self.image_size)
        for image in images:
            png = io.BytesIO()
            Image.fromarray(image).save(png, format="PNG", compress_level=1)
            yield png.getvalue()


def toronto_chunks(archive: Path, image_size: tuple[int, int]) -> Iterator[TorontoChunk]:
    """Yield the archive's batches of images.

    Images are numbered from 1 in the archive's order, separately for the five training batches
    and the test batch. Raises `UserError` if the archive is not what its page describes.
    """
    for split, batches in read_labels(archive, image_size).items():
        first = 1
        for batch, labels in batches.items():
            numbers = range(first, first + len(labels))
            names = [f"{split}/{number}.png" for number in numbers]
            unknown = [None] * len(names)
            yield TorontoChunk(archive, names, unknown, unknown, batch, image_size)
            first += len(labels)


def write_tables(archive: Path, image_size: tuple[int, int], tables: Mapping[str, Path]) -> None:
    """Write the labels of the two splits as trainLabels.csv and testLabels.csv, if asked for.

    `tables` maps a table's name to its target. Raises `UserError` as `toronto_chunks` does.
    """
    for split, batches in read_labels(archive, image_size).items():
        table = tables.get(f"{split}Labels.csv")
        if table is not None:
            labels = chain.from_iterable(batches.values())
            write_rows(table, ("id", "label"), enumerate(labels, start=1))


def read_labels(archive: Path, image_size: tuple[int, int]) -> dict[str, dict[str, list[str]]]:
    """Return the labels of the images of each batch of each split, in the archive's order.

    Raises `UserError` if the archive is not what its page describes.
    """
    names = {*chain.from_iterable(BATCHES.values()), CLASS_NAMES}
    found = read_archive(archive, lambda name: _base(name) in names)
    contents = {_base(name): content for name, content in found}
    missing = sorted(names - contents.keys())
    if missing:
        raise UserError(f"{archive}: holds no {missing[0]}; get the archive again")

    meta = _unpickled(archive, CLASS_NAMES, contents[CLASS_NAMES])
    classes = [_text(name) for name in _value(archive, CLASS_NAMES, meta, "label_names")]
    labels: dict[str, dict[str, list[str]]] = {split: {} for split in BATCHES}
    for split, batches in BATCHES.items():
        for batch in batches:
            _, targets = _batch(archive, batch, contents[batch], image_size)
            if not all(0 <= target < len(classes) for target in targets):
                raise UserError(
                    f"{archive}: {batch} has labels that are no classes; get the archive again"
                )
            labels[split][batch] = [classes[target] for target in targets]
    return labels


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _batch(
    archive: Path, name: str, content: bytes, image_size: tuple[int, int]
) -> tuple[np.ndarray, list[int]]:
    """Return a batch's images, uint8 [N, H, W, 3], and their targets, indices of classes."""
    height, width = image_size
    batch = _unpickled(archive, name, content)
    data = _value(archive, name, batch, "data")
    targets = _value(archive, name, batch, "labels")
    if (
        not isinstance(targets, list)
        or not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.shape != (len(targets), 3 * height * width)
        or not all(isinstance(target, int) for target in targets)
    ):
        raise UserError(
            f"{archive}: {name} does not hold {height}×{width} images and their labels; "
            "get the archive again"
        )
    planes = data.reshape(-1, 3, height, width)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), targets


def _unpickled(archive: Path, name: str, content: bytes) -> Any:
    try:
        return ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # damaged bytes can raise anything
        raise UserError(
            f"{archive}: {name} cannot be read ({one_line(str(error))}); don't trust it"
        ) from None


def _value(archive: Path, name: str, mapping: Any, key: str) -> Any:
    """Return the value of a key, which is bytes if Python 2 wrote it."""
    for form in (key.encode(), key):
        if isinstance(mapping, dict) and form in mapping:
            return mapping[form]
    raise UserError(f"{archive}: {name} holds no {key!r}; get the archive again")


def _text(value: bytes | str) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
