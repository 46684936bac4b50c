"""Trainings by several processes, for the tests of distributed training and of launching."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from image_builders import CLASSES, write_packed
from imagepipe.prediction.logits import read_predictions
from imagepipe.training.history import HISTORY_COLUMNS
from imagepipe.training.runs import Machine, Run, TrainingInputs, TrainingOutputs
from training_builders import colored, complete_recipe, spec_of

PLAIN = {"schedule": {"name": "cosine"}, "optimizer": {"lr": 0.05, "nesterov": True}}


def write_inputs(folder: Path) -> None:
    """Write 45 images of 12 pixels, 9 of them for validation; the last batch of 8 has 4 images."""
    images, labels = colored(45, size=12)
    splits = ["valid" if row % 5 == 0 else "train" for row in range(45)]
    write_packed(folder, images.numpy(), [CLASSES[label] for label in labels], splits)


def inputs_in(folder: Path) -> TrainingInputs:
    """Return the inputs that `write_inputs` has written."""
    names = ("labelled.npy", "labelled.csv", "classes.txt", "split.csv")
    return TrainingInputs(*(folder / name for name in names))


def run_in(
    folder: Path, inputs: TrainingInputs, recipe: dict[str, Any], processes: int = 1, **machine: Any
) -> Run:
    """Return a run on the CPU with one thread for each process, which writes to `folder`."""
    folder.mkdir(exist_ok=True)
    names = ("model.safetensors", "history.csv", "metrics.json", "run.yaml", "valid_logits.npz")
    return Run(
        "mine",
        inputs,
        TrainingOutputs(*(folder / name for name in names)),
        spec_of(complete_recipe(**recipe)),
        "code",
        folder / "checkpoint",
        Machine("cpu", 0, processes, 5, processes_per_node=processes, **machine),
    )


def figures(folder: Path) -> np.ndarray:
    """Return losses and accuracies of all epochs."""
    table = np.genfromtxt(folder / "history.csv", delimiter=",", skip_header=1, ndmin=2)
    names = ("train_loss", "train_accuracy", "valid_accuracy")
    return table[:, [HISTORY_COLUMNS.index(name) for name in names]]


def assert_same_but_for_rounding(folder: Path, other: Path) -> None:
    """Assert that two runs had the same result, up to rounding."""
    np.testing.assert_allclose(figures(folder), figures(other), rtol=1e-4)
    weights = [load_file(each / "model.safetensors") for each in (folder, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=2e-3, atol=2e-4, msg=name)
    logits = [read_predictions(each / "valid_logits.npz").logits for each in (folder, other)]
    np.testing.assert_allclose(logits[0], logits[1], rtol=1e-2, atol=1e-3)
