#!/usr/bin/env python3
"""Recipes `fast` and `accurate` beside the published programs that they come from, in turn.

Both train on the CIFAR-10 training images less 5,000 that the workflow's own rule for the
validation set draws, and classify those. The published programs are airbench94 with Muon and
airbench96, transcribed in plain_airbench.py and plain_airbench96.py. More seeds of the recipe
alone, `--members` in all, show what averaging their probabilities brings. With another number of
`--images`, all 50,000 or fewer, it tells of the time, and not of the accuracy. On a GPU each way is
trained once before the first seed, so that loading and compiling kernels is not in the times; how
long that first training takes is printed.

    benchmarks/published_recipes.py --data FOLDER --keep FOLDER [--recipes fast] [--seeds 3]
        [--members 5] [--images 45000] [--override '{compile: true}']

FOLDER of --data holds cifar10-jpeg.tar.xz (train/ID.jpg) and trainLabels.csv. A seed takes the
program that `fast` comes from 14 minutes, and `fast` 9, on two cores with AVX-512-BF16. What each
training came to is kept in the folder of --keep, so that another call carries on; it is measured
anew where the program, the recipe, the workflow's code or PyTorch is another one.
"""

import argparse
import csv
import hashlib
import io
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from plain_airbench import DEVIATIONS, MEANS, predict_plain, train_plain_airbench
from plain_airbench96 import train_plain_airbench96
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from imagepipe.config.configuration import load_configuration  # noqa: E402
from imagepipe.config.recipe import Recipe  # noqa: E402
from imagepipe.config.source_hash import code_hash  # noqa: E402
from imagepipe.dataset.splitting import draw_valid  # noqa: E402
from imagepipe.device.devices import choose_precision, chosen_device, device_name  # noqa: E402
from imagepipe.prediction.logits import class_probabilities  # noqa: E402
from imagepipe.prediction.predict import predict_logits  # noqa: E402
from imagepipe.training.loop import train  # noqa: E402
from imagepipe.training.saving import Checkpoints  # noqa: E402
from imagepipe.training.state import TrainingData, TrainingSpec  # noqa: E402

PLAIN = {"fast": train_plain_airbench, "accurate": train_plain_airbench96}


@dataclass(frozen=True)
class Result:
    """Seconds of training, and the logits of the images held out."""

    seconds: float
    logits: np.ndarray


@dataclass(frozen=True)
class Images:
    """uint8 images [N, 32, 32, 3], the numbers of their classes, and the rows held out."""

    images: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray
    most: int

    @property
    def trained_on(self) -> np.ndarray:
        """Rows that are trained on, those held out last, if all are wanted."""
        others = np.setdiff1d(np.arange(len(self.labels)), self.held_out)
        return np.concatenate((others, self.held_out))[: self.most]


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


def kept(folder: Path, what: str, seed: int, train: Callable[[], Result]) -> Result:
    """Return what a training came to: by the file in which an earlier call has kept it, or anew."""
    path = folder / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}-{seed}.npz"
    if not path.exists():
        result = train()
        np.savez(path, seconds=result.seconds, logits=result.logits)
    with np.load(path) as content:
        return Result(float(content["seconds"]), content["logits"])


def run_plain(
    data: Images,
    program: Callable[[torch.Tensor, torch.Tensor, int], nn.Module],
    seed: int,
    device: torch.device,
) -> Result:
    """Train by a published program, and classify the images held out.

    Call it in a process of its own: what the engine sets for its whole process is not for it.
    """
    torch.backends.cudnn.benchmark = True
    images = torch.from_numpy(data.images[data.trained_on]).to(device)
    labels = torch.from_numpy(data.labels[data.trained_on]).to(device)
    start = time.perf_counter()
    net = program(images, labels, seed)
    seconds = time.perf_counter() - start
    held_out = torch.from_numpy(data.images[data.held_out]).to(device)
    return Result(seconds, predict_plain(net, held_out).cpu().numpy())


def run_ours(data: Images, recipe: Recipe, seed: int, device: torch.device) -> Result:
    """Train a recipe of ours, and classify the images held out."""
    precision, _ = choose_precision(recipe.precision, device)
    nothing = np.arange(0)
    training_data = TrainingData(data.images, data.labels, data.trained_on, nothing, 10)
    spec = TrainingSpec(recipe, seed, list(MEANS), list(DEVIATIONS))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        trained = train(
            *(training_data, spec, device, precision),
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
        test_time_augmentation=recipe.test_time_augmentation,
    )
    return Result(seconds, logits.numpy())


def summary(name: str, values: list[float]) -> str:
    figures = np.array(values)
    spread = f" ± {figures.std(ddof=1):.4f}" if len(figures) > 1 else ""
    median = np.median(figures)
    return f"{name}: median {median:.4f}, mean {figures.mean():.4f}{spread} (n = {len(figures)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", default=["fast"], choices=PLAIN)
    parser.add_argument("--seeds", type=int, default=3, help="of both, in turn")
    parser.add_argument("--members", type=int, default=5, help="of the recipe, averaged at the end")
    parser.add_argument("--images", type=int, default=45_000, help="that are trained on")
    parser.add_argument("--override", default="{}", help="keys of the recipe, as YAML")
    arguments = parser.parse_args()
    data = read_images(arguments.data, arguments.images)
    with chosen_device("auto", gpus=1) as device:
        print(
            f"PyTorch {torch.__version__}, {device_name(device)}, {torch.get_num_threads()} "
            f"threads; {len(data.trained_on):,} images to train on, {len(data.held_out):,} others",
            flush=True,
        )
        arguments.keep.mkdir(parents=True, exist_ok=True)
        # The batches are to be as large as on all images, however few are trained on.
        override = {"min_steps_per_epoch": 1, **yaml.safe_load(arguments.override)}
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other_process:
            for name in arguments.recipes:
                settings = {"recipe": name, "override": override}
                recipe = load_configuration(settings, ROOT / "workflow").recipe
                measure(data, name, recipe, arguments, device, other_process)


def measure(
    data: Images,
    name: str,
    recipe: Recipe,
    arguments: argparse.Namespace,
    device: torch.device,
    other_process: Executor,
) -> None:
    """Print a line for each training, and then medians, ratio and the members' average."""
    folder, seeds, members = arguments.keep, arguments.seeds, arguments.members
    machine = f"{torch.__version__} {device_name(device)} {len(data.trained_on)} {name}"
    programs = sorted(Path(__file__).parent.glob("plain_airbench*.py"))
    program = machine + "".join(path.read_text() for path in programs)
    scripts = ROOT / "workflow" / "scripts"
    code = code_hash(scripts / "train.py", scripts / "imagepipe")
    engine = machine + recipe.model_dump_json() + code
    run_recipe = partial(run_ours, data, recipe, device=device)

    def run_published(seed: int) -> Result:
        return other_process.submit(run_plain, data, PLAIN[name], seed, device).result()

    if device.type == "cuda":
        for way, run in (("published", run_published), (name, run_recipe)):
            print(f"{way}: {run(seed=seeds).seconds:.2f} s for the very first training", flush=True)
    published, ours = [], []
    for seed in range(max(seeds, members)):
        if seed < seeds:
            result = kept(folder, program, seed, partial(run_published, seed=seed))
            published.append(result)
            print(line("published", seed, result, data), flush=True)
        result = kept(folder, engine, seed, partial(run_recipe, seed=seed))
        ours.append(result)
        print(line(name, seed, result, data), flush=True)
    accuracies = [accuracy(result.logits, data) for result in ours]
    print(summary("published", [accuracy(result.logits, data) for result in published]))
    print(summary(name, accuracies[:seeds]))
    medians = [np.median([r.seconds for r in results[:seeds]]) for results in (ours, published)]
    print(
        f"{name} takes {medians[0] / medians[1]:.3f} times the published program's time: medians "
        f"of {seeds} are {medians[0]:.2f} and {medians[1]:.2f} s"
    )
    if members > 1:
        averaged = np.mean(
            [class_probabilities(result.logits, several_labels=False) for result in ours[:members]],
            axis=0,
        )
        gain = accuracy(averaged, data) - np.mean(accuracies[:members])
        print(summary("members", accuracies[:members]))
        print(
            f"{members} members averaged: {accuracy(averaged, data):.4f}, {gain:+.4f} to their mean"
        )


def line(name: str, seed: int, result: Result, data: Images) -> str:
    right = accuracy(result.logits, data)
    return f"seed {seed}: {name:9} {right:.4f} in {result.seconds:.2f} s"


if __name__ == "__main__":
    main()
