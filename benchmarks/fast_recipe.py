#!/usr/bin/env python3
"""Recipe `fast` beside the published program that it comes from, in turn, on 45,000 images.

Both train on the CIFAR-10 training images less 5,000 that the workflow's own rule for the
validation set draws, and classify those. The published program is airbench94 with Muon, transcribed
in plain_airbench.py. More seeds of `fast` alone, `--members` in all, show what averaging their
probabilities brings. With `--images` less than all are trained on, which tells of the time, and not
of the accuracy.

    benchmarks/fast_recipe.py --data FOLDER [--seeds 3] [--members 5] [--images 45000]

FOLDER holds cifar10-jpeg.tar.xz (train/ID.jpg) and trainLabels.csv. By the rate of
a few steps, a seed would take 14 minutes for the published program and 9 for `fast`, on two cores
with AVX-512-BF16.
"""

import argparse
import csv
import io
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from plain_airbench import DEVIATIONS, MEANS, predict_plain_airbench, train_plain_airbench

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from imagepipe.configuration import load_configuration  # noqa: E402
from imagepipe.device import choose_precision, chosen_device, device_name  # noqa: E402
from imagepipe.prediction import predict_logits  # noqa: E402
from imagepipe.saving import Checkpoints  # noqa: E402
from imagepipe.splitting import draw_valid  # noqa: E402
from imagepipe.training import train  # noqa: E402
from imagepipe.training_state import TrainingData  # noqa: E402


@dataclass(frozen=True)
class Images:
    """uint8 images [N, 32, 32, 3], the numbers of their classes, and the rows held out."""

    images: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray
    most: int

    @property
    def trained_on(self) -> np.ndarray:
        return np.setdiff1d(np.arange(len(self.labels)), self.held_out)[: self.most]


def read_images(folder: Path, most: int) -> Images:
    """Decode the 50,000 training images, draw those that are held out, train on `most` others."""
    with (folder / "trainLabels.csv").open(newline="") as file:
        label_of = {row["id"]: row["label"] for row in csv.DictReader(file)}
    classes = sorted(set(label_of.values()))
    images = np.empty((len(label_of), 32, 32, 3), np.uint8)
    with tarfile.open(folder / "cifar10-jpeg.tar.xz") as archive:
        for member in archive:
            if member.name.startswith("train/") and member.isfile():
                content = archive.extractfile(member)
                assert content is not None
                with Image.open(io.BytesIO(content.read())) as image:
                    images[int(Path(member.name).stem) - 1] = np.asarray(image.convert("RGB"))
    labels = np.array([classes.index(label_of[str(i + 1)]) for i in range(len(images))])
    held_out = np.sort([int(image_id) - 1 for image_id in draw_valid(label_of, 0.1, 0)])
    return Images(images, labels, held_out, most)


def accuracy(logits: np.ndarray, data: Images) -> float:
    return float((logits.argmax(axis=1) == data.labels[data.held_out]).mean())


def run_plain(data: Images, seed: int, device: torch.device) -> tuple[float, float]:
    """Return seconds of training and the accuracy of the published program."""
    images = torch.from_numpy(data.images[data.trained_on]).to(device)
    labels = torch.from_numpy(data.labels[data.trained_on]).to(device)
    start = time.perf_counter()
    net = train_plain_airbench(images, labels, seed)
    seconds = time.perf_counter() - start
    held_out = torch.from_numpy(data.images[data.held_out]).to(device)
    return seconds, accuracy(predict_plain_airbench(net, held_out).cpu().numpy(), data)


def run_ours(
    data: Images, recipe_name: str, seed: int, device: torch.device
) -> tuple[float, np.ndarray]:
    """Return seconds of training and the logits of the images held out, of a recipe of ours."""
    # The batches are to be as large as on all images, however few are trained on.
    settings = {"recipe": recipe_name, "override": {"least_steps_per_epoch": 1}}
    recipe = load_configuration(settings, ROOT / "workflow").recipe
    precision, _ = choose_precision(recipe["precision"], device)
    nothing = np.arange(0)
    training_data = TrainingData(
        data.images, data.labels, data.trained_on, nothing, 10, list(MEANS), list(DEVIATIONS)
    )
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        trained = train(
            *(training_data, recipe, seed, device, precision),
            *(Path(folder) / "history.csv", Checkpoints(Path(folder) / "checkpoint", "")),
        )
        seconds = time.perf_counter() - start
    logits = predict_logits(
        trained.model,
        torch.from_numpy(data.images[data.held_out]),
        MEANS,
        DEVIATIONS,
        batch_size=500,
        precision=precision,
        test_time_augmentation=recipe["test_time_augmentation"],
    )
    return seconds, logits.numpy()


def probabilities(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    quotients: np.ndarray = raised / raised.sum(axis=1, keepdims=True)
    return quotients


def summary(name: str, values: list[float]) -> str:
    figures = np.array(values)
    spread = f" ± {figures.std(ddof=1):.4f}" if len(figures) > 1 else ""
    median = np.median(figures)
    return f"{name}: median {median:.4f}, mean {figures.mean():.4f}{spread} (n = {len(figures)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="of both, in turn")
    parser.add_argument("--members", type=int, default=5, help="of fast, averaged at the end")
    parser.add_argument("--images", type=int, default=45_000, help="that are trained on")
    arguments = parser.parse_args()
    data = read_images(arguments.data, arguments.images)
    with chosen_device("auto", gpus=1) as device:
        print(
            f"PyTorch {torch.__version__}, {device_name(device)}, {torch.get_num_threads()} "
            f"threads; {len(data.trained_on):,} images to train on, {len(data.held_out):,} others",
            flush=True,
        )
        measure(data, arguments.seeds, arguments.members, device)


def measure(data: Images, seeds: int, members: int, device: torch.device) -> None:
    """Print a line for each training, and then medians, ratio and the members' average."""
    plain_seconds, plain_accuracies = [], []
    seconds_of_ours, logits_of_ours = [], []
    for seed in range(max(seeds, members)):
        if seed < seeds:
            seconds, right = run_plain(data, seed, device)
            plain_seconds.append(seconds)
            plain_accuracies.append(right)
            print(f"seed {seed}: published {right:.4f} in {seconds:.1f} s", flush=True)
        seconds, logits = run_ours(data, "fast", seed, device)
        seconds_of_ours.append(seconds)
        logits_of_ours.append(logits)
        print(f"seed {seed}: fast      {accuracy(logits, data):.4f} in {seconds:.1f} s", flush=True)
    accuracies = [accuracy(logits, data) for logits in logits_of_ours]
    ratio = np.median(seconds_of_ours[:seeds]) / np.median(plain_seconds)
    print(summary("published", plain_accuracies))
    print(summary("fast", accuracies))
    print(f"fast takes {ratio:.3f} times the published program's time (medians of {seeds})")
    if members > 1:
        averaged = np.mean([probabilities(logits) for logits in logits_of_ours[:members]], axis=0)
        gain = accuracy(averaged, data) - np.mean(accuracies[:members])
        print(
            f"{members} members averaged: {accuracy(averaged, data):.4f}, {gain:+.4f} to their mean"
        )


if __name__ == "__main__":
    main()
