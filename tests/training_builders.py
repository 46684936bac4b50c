"""Small things to train on, shared by the tests of training, prediction and model files."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from imagepipe.config.configuration import check
from imagepipe.files import write_rows
from imagepipe.training.loop import Trained, train
from imagepipe.training.saving import Checkpoints
from imagepipe.training.state import TrainingData

WORKFLOW = Path(__file__).parents[1] / "workflow"
CLASSES = ("blue", "green", "red")
MEANS = [0.5, 0.4, 0.3]
DEVIATIONS = [0.2, 0.25, 0.3]
CPU = torch.device("cpu")
TIME_COLUMNS = ("seconds", "examples_per_second")

# With images this small, several threads only wait for each other.
torch.set_num_threads(1)


def complete_recipe(**sections: Any) -> dict[str, Any]:
    """Return a recipe with all of the schema's defaults; by default a tiny network in fp32."""
    schema = yaml.safe_load((WORKFLOW / "schemas" / "recipe.schema.yaml").read_text())
    small = {
        "model": {"name": "small_cnn", "width": 4},
        "batch_size": 8,
        "epochs": 3,
        "optimizer": {"lr": 0.02},
        "precision": "fp32",
    }
    return check(small | sections, schema, "test")


def file_recipe(name: str) -> dict[str, Any]:
    """Return one of the workflow's own recipes, complete."""
    path = WORKFLOW / "recipes" / f"{name}.yaml"
    return complete_recipe(**yaml.safe_load(path.read_text()))


def noise(count: int, size: int = 8, seed: int = 0) -> torch.Tensor:
    """Return uint8 images [count, size, size, 3] that are all different."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, size, size, 3)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def coloured(count: int, size: int = 8, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return noisy images whose class, one of three, is their brightest colour, and the classes."""
    labels = torch.arange(count) * 7 % 3
    images = noise(count, size, seed) // 4
    images[torch.arange(count), :, :, 2 - labels] += 128
    return images, labels


def training_data(train_images: int = 36, valid_images: int = 9) -> TrainingData:
    """Return a set that is easily told apart, its training and validation rows mixed."""
    images, labels = coloured(train_images + valid_images)
    rows = np.random.default_rng(1).permutation(len(images))
    train_rows, valid_rows = np.sort(rows[:train_images]), np.sort(rows[train_images:])
    return TrainingData(
        images.numpy(), labels.numpy(), train_rows, valid_rows, 3, MEANS, DEVIATIONS
    )


def train_in(
    folder: Path,
    recipe: dict[str, Any],
    data: TrainingData | None = None,
    *,
    seed: int = 0,
    precision: str = "fp32",
    device: torch.device = CPU,
    fingerprint: str = "fingerprint",
    seconds_between: float = math.inf,
) -> Trained:
    """Train, with history.csv and the checkpoint in `folder`."""
    return train(
        data or training_data(),
        recipe,
        seed,
        device,
        precision,
        folder / "history.csv",
        Checkpoints(folder / "checkpoint", fingerprint, seconds_between),
    )


def assert_same_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    """Assert that two models have the same weights and statistics, bit for bit."""
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def without_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a history without the columns that no two runs share."""
    return [{k: v for k, v in row.items() if k not in TIME_COLUMNS} for row in history]


def write_packed(folder: Path, images: np.ndarray, labels: list[str], splits: list[str]) -> None:
    """Write what the rules `pack` and `split` leave, and classes.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "labelled.npy", images)
    rows = [(row, f"id{row + 1}", label) for row, label in enumerate(labels)]
    write_rows(folder / "labelled.csv", ("row", "id", "label"), rows)
    split_rows = [(*row[1:], split) for row, split in zip(rows, splits, strict=True)]
    write_rows(folder / "split.csv", ("id", "label", "split"), split_rows)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
