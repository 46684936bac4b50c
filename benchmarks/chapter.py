#!/usr/bin/env python3
"""Is the chapter reproduced? Recipe `d2l` beside a plain loop written as in the chapter.

Both train the chapter's ResNet-18 for its 20 epochs on the 1,000 images of its small sample, and
classify 4,068 other images of CIFAR-10 in evaluation mode, three seeds each. The plain loop is
what a reader of the book would write: ImageFolder, DataLoader, torchvision's transforms, float32.
It reads the folders that the workflow's rule `reorganise` made of the same archive; our engine
reads the arrays that its rule `pack` made of them, and trains by the function of rule `retrain`.

    benchmarks/chapter.py --data FOLDER --work FOLDER

FOLDER of --data holds kaggle_cifar10_tiny.zip and cifar10-lossless.zip (PNG images under their
Kaggle ids, with labels). About 35 minutes on two cores.
"""

import argparse
import io
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torchvision
from PIL import Image
from plain_training import DEVIATIONS, MEANS, plain_epoch, plain_loader, plain_resnet18
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from imagepipe.config.configuration import load_configuration  # noqa: E402
from imagepipe.config.recipe import Precision  # noqa: E402
from imagepipe.dataset.packed import read_classes  # noqa: E402
from imagepipe.device.devices import choose_precision, chosen_device  # noqa: E402
from imagepipe.models.model_files import load_model  # noqa: E402
from imagepipe.prediction.predict import predict_logits  # noqa: E402
from imagepipe.training.runs import (  # noqa: E402
    Machine,
    Run,
    TrainingInputs,
    TrainingOutputs,
    train_run,
)
from imagepipe.training.state import TrainingSpec  # noqa: E402

FIRST_TEST_ID = 10_001


def train_plain(
    folder: Path,
    seed: int,
    device: torch.device,
    epochs: int = 20,
    batch_size: int = 32,
    lr: float = 2e-4,
    period: int = 4,
    decay: float = 0.9,
) -> tuple[nn.Module, float]:
    """Train as in the chapter; return the network, and images per second."""
    torch.manual_seed(seed)
    loader = plain_loader(folder, batch_size)
    net = plain_resnet18(num_classes=10).to(device)
    trainer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(trainer, period, decay)
    start = time.perf_counter()
    for _ in range(epochs):
        plain_epoch(net, trainer, loader, device)
        scheduler.step()
    return net, epochs * len(loader) * batch_size / (time.perf_counter() - start)


@torch.no_grad()
def accuracy_plain(
    net: nn.Module, images: np.ndarray, labels: np.ndarray, device: torch.device
) -> float:
    """Classify as in the chapter, but in evaluation mode, which the chapter forgets."""
    net.eval()
    transform = torchvision.transforms.Compose(
        [torchvision.transforms.ToTensor(), torchvision.transforms.Normalize(MEANS, DEVIATIONS)]
    )
    correct = 0
    for start in range(0, len(images), 500):
        batch = torch.stack([transform(Image.fromarray(i)) for i in images[start : start + 500]])
        predicted = net(batch.to(device)).argmax(dim=1).cpu().numpy()
        correct += int((predicted == labels[start : start + 500]).sum())
    return correct / len(images)


def train_ours(
    work: Path, seed: int, override: dict[str, Any] | None = None, recipe_name: str = "d2l"
) -> tuple[Path, float]:
    """Train by the function of rule `retrain`; return the model file, and images per second."""
    override = override or {}
    folder = work / "-".join([recipe_name, *map(str, override.values())]) / f"seed{seed}"
    data = work / "data" / "cifar10_tiny"
    names = ("model.safetensors", "history.csv", "metrics.json", "run.yaml")
    outputs = TrainingOutputs(*(folder / name for name in names))
    settings = {"recipe": recipe_name, "override": override}
    recipe = load_configuration(settings, ROOT / "workflow").recipe
    spec = TrainingSpec(recipe, seed, list(MEANS), list(DEVIATIONS))
    packed = data / "packed/32x32"
    inputs = TrainingInputs(packed / "labelled.npy", packed / "labelled.csv", data / "classes.txt")
    machine = Machine("auto", 1, torch.get_num_threads(), checkpoint_minutes=5.0)
    train_run(Run(folder.parent.name, inputs, outputs, spec, "", folder / ".checkpoint", machine))
    return outputs.model, pd.read_json(outputs.metrics, typ="series")["examples_per_second"]


def classify_ours(
    model_file: Path, images: np.ndarray, device: torch.device, precision: Precision = "auto"
) -> np.ndarray:
    """Return the logits, float32 [N, classes], that the function of rule `predict` gives."""
    model, description = load_model(model_file)
    return predict_logits(
        model.to(device),
        torch.from_numpy(images),
        description.mean,
        description.std,
        batch_size=500,
        precision=choose_precision(precision, device)[0],
        test_time_augmentation=description.test_time_augmentation,
    ).numpy()


def accuracy_ours(
    model_file: Path,
    images: np.ndarray,
    labels: np.ndarray,
    device: torch.device,
    precision: Precision = "auto",
) -> float:
    """Return the top-1 accuracy of a model by the function of rule `predict`."""
    logits = classify_ours(model_file, images, device, precision)
    return float((logits.argmax(axis=1) == labels).mean())


def pack(data: Path, work: Path) -> None:
    """Take the book's small sample as far as the rules `pack` and `reorganise`, in `work`."""
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    config = ["dataset=cifar10_tiny", f"raw_dir={data.resolve()}"]
    where = ["--cores", "all", "--directory", str(work), "--quiet", "all"]
    subprocess.run([*snakemake, "pack", "reorganise", *where, "--config", *config], check=True)


def read_test_images(archive: Path, classes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the images with ids from FIRST_TEST_ID on, uint8 [N, 32, 32, 3], and their labels."""
    with zipfile.ZipFile(archive) as file:
        names = {Path(name).stem: name for name in file.namelist() if name.endswith(".png")}
        table = next(name for name in file.namelist() if name.endswith(".csv"))
        label_of = pd.read_csv(file.open(table), index_col="id")["label"]
        ids = sorted(int(stem) for stem in names if int(stem) >= FIRST_TEST_ID)
        images = np.stack(
            [np.asarray(Image.open(io.BytesIO(file.read(names[str(i)])))) for i in ids]
        )
    return images, np.array([classes.index(label_of[i]) for i in ids])


def prepare(data: Path, work: Path) -> tuple[np.ndarray, np.ndarray, torch.device]:
    """Pack the book's sample; return the test images, their labels, and the device to use."""
    pack(data, work)
    with chosen_device("auto", gpus=1) as device:
        pass
    classes = list(read_classes(work / "data" / "cifar10_tiny" / "classes.txt"))
    return *read_test_images(data / "cifar10-lossless.zip", classes), device


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    images, labels, device = prepare(arguments.data, work)
    tree = work / "data" / "cifar10_tiny" / "train_valid_test" / "train_valid"
    print(
        f"PyTorch {torch.__version__}, {device}, {torch.get_num_threads()} threads; "
        f"recipe d2l on 1,000 images, accuracy on {len(images):,} others",
        flush=True,
    )
    figures = []
    for seed in range(arguments.seeds):
        net, plain_speed = train_plain(tree, seed, device)
        plain = accuracy_plain(net, images, labels, device)
        model_file, speed = train_ours(work, seed)
        ours = accuracy_ours(model_file, images, labels, device)
        figures.append((plain, ours))
        print(
            f"seed {seed}: plain {plain:.4f} ({plain_speed:.0f} images/s), "
            f"ours {ours:.4f} ({speed:.0f} images/s), {speed / plain_speed:.2f} times as fast",
            flush=True,
        )
    plain, ours = np.array(figures).T
    deviation = max(plain.std(ddof=1), ours.std(ddof=1))
    print(f"plain {plain.mean():.4f} ± {plain.std(ddof=1):.4f} (n = {len(plain)})")
    print(f"ours  {ours.mean():.4f} ± {ours.std(ddof=1):.4f} (n = {len(ours)})")
    print(f"difference {ours.mean() - plain.mean():+.4f}, one standard deviation {deviation:.4f}")


if __name__ == "__main__":
    main()
