"""Small images, and what belongs to them, for the tests of networks and of what they are fed."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagepipe.config.recipe import Model
from imagepipe.files import write_rows
from imagepipe.models.model_files import ModelDescription

CLASSES = ("blue", "green", "red")
MEAN = [0.5, 0.4, 0.3]
STD = [0.2, 0.25, 0.3]
CPU = torch.device("cpu")

# With images this small, several threads only wait for each other.
torch.set_num_threads(1)


def model_description(model: Model, **changes: Any) -> ModelDescription:
    """Return the description of a model of three classes, for images of 8×8 pixels."""
    values: dict[str, Any] = {
        "classes": list(CLASSES),
        "several_labels": False,
        "stored_size": [8, 8],
        "fit": "squash",
        "image_size": [8, 8],
        "mean": MEAN,
        "std": STD,
        "test_time_augmentation": "none",
    }
    return ModelDescription(model=model, **values | changes)


def noise(count: int, size: int = 8, seed: int = 0) -> torch.Tensor:
    """Return uint8 images [count, size, size, 3] that are all different."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, size, size, 3)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def write_packed(folder: Path, images: np.ndarray, labels: list[str], splits: list[str]) -> None:
    """Write the files of the rules `pack` and `split`, and classes.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "labelled.npy", images)
    rows = [(row, f"id{row + 1}", label) for row, label in enumerate(labels)]
    write_rows(folder / "labelled.csv", ("row", "id", "label"), rows)
    split_rows = [(*row[1:], split) for row, split in zip(rows, splits, strict=True)]
    write_rows(folder / "split.csv", ("id", "label", "split"), split_rows)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
