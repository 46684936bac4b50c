"""The archive of CIFAR-10's authors, cifar-10-python.tar.gz, as numbered PNG images.

Its format is described at https://www.cs.toronto.edu/~kriz/cifar.html: pickled dictionaries with
`data`, uint8 [10000, 3072], each row the red, green and blue planes of an image, and `labels`.
"""

import io
import itertools
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagepipe.archives.readers import read_members
from imagepipe.errors import UserError
from imagepipe.files import write_rows
from imagepipe.texts import Texts

TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCH = "test_batch"
CLASS_NAMES = "batches.meta"

# All that a pickled NumPy array needs; anything else in a pickle could be made to run code.
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
class TorontoPart:
    """The images of one batch, `numbers` of their split, as the files "SPLIT/NUMBER.png"."""

    archive: Path
    batch: str
    image_size: int
    split: str
    numbers: range

    @property
    def names(self) -> Texts:
        return Texts(f"{self.split}/{number}.png" for number in self.numbers)

    @property
    def sizes(self) -> list[None]:
        return [None] * len(self.numbers)

    checksums = sizes

    def read(self) -> Iterator[bytes]:
        ((_, content),) = read_members(self.archive, lambda name: _base(name) == self.batch)
        images, _ = _batch(self.archive, self.batch, content, self.image_size)
        for image in images:
            png = io.BytesIO()
            Image.fromarray(image).save(png, format="PNG", compress_level=1)
            yield png.getvalue()


def toronto_parts(archive: Path, image_size: int) -> list[TorontoPart]:
    """Return the archive's batches of images.

    Images are numbered from 1 in the archive's order, separately for the five training batches
    and the test batch. Raises `UserError` if the archive is not what its page describes.
    """
    parts: list[TorontoPart] = []
    for split, batches in read_labels(archive, image_size).items():
        first = 1
        for batch, labels in batches.items():
            numbers = range(first, first + len(labels))
            parts.append(TorontoPart(archive, batch, image_size, split, numbers))
            first += len(labels)
    return parts


def write_tables(archive: Path, image_size: int, tables: Mapping[str, Path]) -> None:
    """Write the labels of the splits to trainLabels.csv and testLabels.csv, as far as asked for.

    `tables` says where each goes, by its name. Raises `UserError` as `toronto_parts` does.
    """
    for split, batches in read_labels(archive, image_size).items():
        table = tables.get(f"{split}Labels.csv")
        if table is not None:
            labels = itertools.chain.from_iterable(batches.values())
            write_rows(table, ("id", "label"), enumerate(labels, start=1))


def read_labels(archive: Path, image_size: int) -> dict[str, dict[str, list[str]]]:
    """Return the labels of the images of each batch of each split, in the archive's order.

    Raises `UserError` if the archive is not what its page describes.
    """
    names = {*TRAIN_BATCHES, TEST_BATCH, CLASS_NAMES}
    found = read_members(archive, lambda name: _base(name) in names)
    contents = {_base(name): content for name, content in found}
    missing = sorted(names - contents.keys())
    if missing:
        raise UserError(f"{archive}: holds no {missing[0]}; get the archive again")

    meta = _unpickled(archive, CLASS_NAMES, contents[CLASS_NAMES])
    classes = [_text(name) for name in _value(archive, CLASS_NAMES, meta, "label_names")]
    labels: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for split, batches in (("train", TRAIN_BATCHES), ("test", (TEST_BATCH,))):
        for batch in batches:
            _, numbers = _batch(archive, batch, contents[batch], image_size)
            if not all(0 <= number < len(classes) for number in numbers):
                raise UserError(
                    f"{archive}: {batch} has labels that are no classes; get the archive again"
                )
            labels[split][batch] = [classes[number] for number in numbers]
    return labels


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _batch(
    archive: Path, name: str, content: bytes, image_size: int
) -> tuple[np.ndarray, list[int]]:
    """Return a batch's images, uint8 [N, H, W, 3], and the numbers of their classes."""
    batch = _unpickled(archive, name, content)
    data = _value(archive, name, batch, "data")
    numbers = _value(archive, name, batch, "labels")
    if (
        not isinstance(numbers, list)
        or not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.shape != (len(numbers), 3 * image_size**2)
        or not all(isinstance(number, int) for number in numbers)
    ):
        raise UserError(
            f"{archive}: {name} does not hold {image_size}×{image_size} images and their labels; "
            "get the archive again"
        )
    planes = data.reshape(-1, 3, image_size, image_size)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), numbers


def _unpickled(archive: Path, name: str, content: bytes) -> Any:
    try:
        return ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # whatever bytes that are not trusted can bring about
        raise UserError(f"{archive}: {name} cannot be read ({error}); don't trust it") from None


def _value(archive: Path, name: str, mapping: Any, key: str) -> Any:
    """Return the value of a key, which Python 2 wrote as bytes."""
    for form in (key.encode(), key):
        if isinstance(mapping, dict) and form in mapping:
            return mapping[form]
    raise UserError(f"{archive}: {name} holds no {key!r}; get the archive again")


def _text(value: bytes | str) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
