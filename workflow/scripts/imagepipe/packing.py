"""Decoding every image once, into arrays that the later stages read."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from imagepipe.errors import UserError
from imagepipe.files import write_rows, written_whole
from imagepipe.progress import counter
from imagepipe.reorganising import read_tree

PACKED_COLUMNS = ("row", "id", "label", "split")
IMAGES_PER_TASK = 1_000
# Pillow is told what to expect, so that a file from outside reaches none of its rarer decoders.
FORMATS = ("PNG", "JPEG")


def pack(tree: Path, folder: Path, image_size: int, workers: int = 1) -> None:
    """Write `folder`/{labelled,test}.npy and the tables that tell their rows, {labelled,test}.csv.

    The arrays are uint8 [N, image_size, image_size, 3], red, green, blue, in the order of the
    tree's manifest. Raises `UserError` for a file that is not an image of that size.
    """
    images = list(read_tree(tree))
    labelled = [image for image in images if image.split != "test"]
    test = [image for image in images if image.split == "test"]
    for name, part in (("labelled", labelled), ("test", test)):
        with written_whole(folder / f"{name}.npy") as temporary:
            decode_all([image.path for image in part], temporary, image_size, workers)
        rows = ((row, i.id, i.label, i.split) for row, i in enumerate(part))
        write_rows(folder / f"{name}.csv", PACKED_COLUMNS, rows)


def decode_all(paths: Sequence[Path], target: Path, image_size: int, workers: int) -> None:
    """Decode images into the array file `target`, uint8 [N, image_size, image_size, 3]."""
    array = np.lib.format.open_memmap(
        target, mode="w+", dtype=np.uint8, shape=(len(paths), image_size, image_size, 3)
    )
    starts = range(0, len(paths), IMAGES_PER_TASK)
    tasks = [(paths[start : start + IMAGES_PER_TASK], image_size) for start in starts]
    with counter(total=len(paths), description="decode images", unit="images") as bar:
        for start, decoded in zip(starts, _map(tasks, workers), strict=True):
            array[start : start + len(decoded)] = decoded
            bar.advance(len(decoded))
    array.flush()


def _map(tasks: list[tuple[Sequence[Path], int]], workers: int) -> Iterable[np.ndarray]:
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from map(decode_some, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        yield from pool.map(decode_some, tasks)


def decode_some(task: tuple[Sequence[Path], int]) -> np.ndarray:
    """Return the images of (paths, image size) as uint8 [N, H, W, 3]."""
    paths, image_size = task
    return np.stack([decode(path, image_size) for path in paths])


def decode(path: Path, image_size: int) -> np.ndarray:
    """Return an image as uint8 [image_size, image_size, 3], or raise `UserError`."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            # Before anything is decoded: the size in the header may be a lie that fills the memory.
            if image.size != (image_size, image_size):
                raise UserError(
                    f"{path}: is {image.width}×{image.height} pixels, where {image_size}×"
                    f"{image_size} are expected; resize it, or correct image_size in the "
                    "dataset file"
                )
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        detail = type(error).__name__
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise
        detail = " ".join(str(error).split())
    raise UserError(
        f"{path}: is not a readable {' or '.join(FORMATS)} image ({detail}); replace it in the "
        "archive"
    )
