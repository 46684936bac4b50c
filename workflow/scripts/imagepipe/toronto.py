"""The archive of CIFAR-10's authors, cifar-10-python.tar.gz, as numbered PNG images.

Its format is described at https://www.cs.toronto.edu/~kriz/cifar.html: pickled dictionaries with
`data`, uint8 [10000, 3072], each row the red, green and blue planes of an image, and `labels`.
"""

import io
import pickle
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from imagepipe.archives import read_members
from imagepipe.errors import UserError
from imagepipe.files import write_rows
from imagepipe.progress import progress

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


def read_toronto(
    archive: Path,
    add_image: Callable[[str, str, bytes], None],
    image_size: int,
    tables: dict[str, Path],
) -> None:
    """Hand each image of the archive to `add_image(split, file name, PNG bytes)`.

    Images are numbered from 1 in the archive's order, separately for the five training batches
    and the test batch. Of `tables` (file name: where it goes), trainLabels.csv and testLabels.csv
    get the labels. Raises `UserError` if the archive is not what its page describes.
    """
    contents: dict[str, bytes] = {}
    names = {*TRAIN_BATCHES, TEST_BATCH, CLASS_NAMES}

    def receive(member: PurePosixPath, content: bytes) -> None:
        contents[member.name] = content

    read_members(archive, lambda member: member.name in names, receive)
    missing = sorted(names - contents.keys())
    if missing:
        raise UserError(f"{archive}: holds no {missing[0]}; get the archive again")

    meta = _unpickled(archive, CLASS_NAMES, contents[CLASS_NAMES])
    classes = [_text(name) for name in _value(archive, CLASS_NAMES, meta, "label_names")]
    for split, batches in (("train", TRAIN_BATCHES), ("test", (TEST_BATCH,))):
        labels: list[str] = []
        for batch in batches:
            images, numbers = _batch(archive, batch, contents[batch], image_size, len(classes))
            for image, number in progress(
                zip(images, numbers, strict=True),
                total=len(images),
                description=f"write the images of {batch}",
                unit="images",
            ):
                labels.append(classes[number])
                png = io.BytesIO()
                Image.fromarray(image).save(png, format="PNG", compress_level=1)
                add_image(split, f"{len(labels)}.png", png.getvalue())
        table = tables.get(f"{split}Labels.csv")
        if table is not None:
            write_rows(table, ("id", "label"), enumerate(labels, start=1))


def _batch(
    archive: Path, name: str, content: bytes, image_size: int, classes: int
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
        or not all(isinstance(number, int) and 0 <= number < classes for number in numbers)
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
