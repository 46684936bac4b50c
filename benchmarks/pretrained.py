#!/usr/bin/env python3
"""How fast are pretrained networks? Our fine-tuning and features beside a plain loop with timm.

Both see the 1,000 training images of kaggle_cifar10_tiny.zip, enlarged, with the same network and
batch size. Training: all layers, an epoch at a time, ours with its statistics kept and with shifts
and mirror images, the plain loop's with torchvision's. Features: all images once. The plain loop
reads PNG files by two workers, and takes the precision and the memory format that are fastest for
it; ours reads what rule `pack` writes, in the precision that `auto` picks. Both take turns; the
best round of each counts.

    IMAGEPIPE_REAL_DATA=FOLDER benchmarks/pretrained.py [--rounds 4] [--sizes 96 128]

About ten minutes on two cores. With --families it measures steps of the commonest families of
networks instead, with and without channels_last, folded batch normalization, and bf16.
"""

import argparse
import csv
import io
import itertools
import os
import platform
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from plain_finetuning import PlainNetwork, plain_loader
from torch import Tensor, nn
from training_throughput import Rounds, epoch_of, take_turns

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from imagepipe.config.recipe import FrozenNetwork, Recipe, Timm  # noqa: E402
from imagepipe.dataset.packed import PackedFile  # noqa: E402
from imagepipe.device.cpu_precision import NetworkUse  # noqa: E402
from imagepipe.device.devices import choose_precision  # noqa: E402
from imagepipe.models.create import create_model  # noqa: E402
from imagepipe.models.folding import fold_frozen_batch_norm  # noqa: E402
from imagepipe.prediction.embedding import Embedder, write_features  # noqa: E402
from imagepipe.prediction.predict import images_at_once  # noqa: E402
from imagepipe.progress import counter  # noqa: E402
from imagepipe.training.build import Training, build_training  # noqa: E402
from imagepipe.training.state import TrainingData, TrainingSpec  # noqa: E402

ARCHITECTURE = "tf_efficientnet_lite0"
WEIGHTS = f"{ARCHITECTURE}.safetensors"
MEAN = STD = [0.5, 0.5, 0.5]
CPU = torch.device("cpu")
# That of rule `embed`.
PREDICTION_BATCH_SIZE = 500
FAMILIES = (
    "resnet18",
    "tf_efficientnet_lite0",
    "mobilenetv3_large_100",
    "vit_tiny_patch16_224",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 128])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--families", action="store_true")
    arguments = parser.parse_args()
    print(
        f"{processor()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}, "
        f"timm {timm.__version__}, batch size {arguments.batch_size}, best of {arguments.rounds}",
        flush=True,
    )
    if arguments.families:
        for size, name in itertools.product(arguments.sizes, FAMILIES):
            measure_family(name, size, arguments.batch_size, arguments.rounds)
        return
    data_folder = Path(os.environ["IMAGEPIPE_REAL_DATA"])
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        data = write_images(data_folder / "kaggle_cifar10_tiny.zip", work)
        for size in arguments.sizes:
            measure_training(
                data, work, data_folder / WEIGHTS, size, arguments.batch_size, arguments.rounds
            )
        for size in arguments.sizes:
            measure_features(work, data_folder / WEIGHTS, size, arguments)


def processor() -> str:
    """Return the name of this machine's processor."""
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = re.findall(
        r"^(?:model name|model|stepping)\s*:\s*(.*)$", cpu.partition("\n\n")[0], re.M
    )
    return " ".join(names)


def write_images(archive: Path, work: Path) -> TrainingData:
    """Write the training images of an archive as folders of PNG files, and as a packed array."""
    pixels, names = [], []
    with zipfile.ZipFile(archive) as source:
        (table,) = (name for name in source.namelist() if name.endswith("trainLabels.csv"))
        labels = {
            row["id"]: row["label"]
            for row in csv.DictReader(io.TextIOWrapper(source.open(table), encoding="utf-8"))
        }
        for name in source.namelist():
            path = Path(name)
            if path.parent.name == "train" and path.suffix == ".png":
                target = work / "tree" / labels[path.stem] / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read(name))
                pixels.append(np.asarray(Image.open(target).convert("RGB")))
                names.append(labels[path.stem])
    classes, numbers = np.unique(names, return_inverse=True)
    images = np.stack(pixels)
    np.save(work / "images.npy", images)
    rows = np.arange(len(images))
    return TrainingData(images, numbers, rows, rows[:0], len(classes))


def finetuning(
    data: TrainingData, weights: Path, size: int, batch_size: int
) -> tuple[Training, str]:
    """Return our training of all layers, and its precision."""
    recipe = Recipe.model_validate(
        {
            "model": {"name": "timm", "architecture": ARCHITECTURE, "weights": str(weights)},
            "image_size": size,
            "augmentation": {"random_crop_padding": 4, "horizontal_flip": True},
            "fine_tune": {"frozen_epochs": 0, "head_lr": 3e-3},
            "optimizer": {"name": "adamw", "lr": 3e-4, "weight_decay": 0.05},
            "batch_size": batch_size,
        }
    )
    use = NetworkUse.from_model(recipe.model, (size, size), training=True)
    precision, _ = choose_precision(recipe.precision, CPU, use)
    spec = TrainingSpec(recipe, 0, MEAN, STD)
    return build_training(data, spec, CPU, precision), precision


def measure_training(
    data: TrainingData, work: Path, weights: Path, size: int, batch_size: int, rounds: int
) -> None:
    """Print the speed of both in training, and their ratio."""
    plain = PlainNetwork(ARCHITECTURE, data.num_classes, batch_size, size)
    loader = plain_loader(work / "tree", batch_size, size, MEAN, STD, train=True)
    training, precision = finetuning(data, weights, size, batch_size)
    images = len(data.images) // batch_size * batch_size
    compare(
        f"training at {size} pixels",
        {
            f"plain ({plain})": lambda: plain.train_epoch(loader),
            f"ours ({precision})": epoch_of(training),
        },
        images,
        rounds,
    )


def measure_features(work: Path, weights: Path, size: int, arguments: argparse.Namespace) -> None:
    """Print the speed of both in computing features, and their ratio."""
    plain = PlainNetwork(ARCHITECTURE, 0, arguments.batch_size, size)
    loader = plain_loader(work / "tree", arguments.batch_size, size, MEAN, STD, train=False)
    options = FrozenNetwork(architecture=ARCHITECTURE)
    use = NetworkUse.from_model(options, (size, size), training=False)
    precision, _ = choose_precision("auto", CPU, use)
    embedder = Embedder(options, weights, MEAN, STD, "bilinear", (size, size), CPU, precision)
    images = PackedFile.from_array(work / "images.npy")
    at_once = images_at_once(PREDICTION_BATCH_SIZE, (size, size))

    def ours() -> None:
        with counter(total=len(images), description="embed", unit="images") as bar:
            write_features(embedder, images, work / "out.npy", at_once, bar, lambda: None)

    compare(
        f"features at {size} pixels",
        {f"plain ({plain})": lambda: plain.embed(loader), f"ours ({precision})": ours},
        len(images),
        arguments.rounds,
    )


def compare(title: str, ways: dict[str, Callable[[], object]], images: int, rounds: int) -> None:
    """Print images per second of some ways, and the ratio to the first one's."""
    timed = {name: Rounds(way) for name, way in ways.items()}
    take_turns(list(timed.values()), rounds)
    first = next(iter(timed.values())).best
    for name, way in timed.items():
        print(
            f"{title}, {name}: {images / way.best:,.1f} images/s, {first / way.best:.2f} times",
            flush=True,
        )


@dataclass(frozen=True)
class Steps:
    """Steps of a network in evaluation mode on one batch."""

    model: nn.Module
    images: Tensor
    bf16: bool

    def logits(self) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            logits: Tensor = self.model(self.images)
        return logits

    def train(self) -> None:
        torch.autograd.backward(self.logits().float().logsumexp(dim=1).sum())
        self.model.zero_grad()

    @torch.inference_mode()
    def predict(self) -> None:
        self.logits()


def measure_family(architecture: str, size: int, batch_size: int, rounds: int) -> None:
    """Print the speed of a network's steps in training and prediction, in several ways.

    Batch normalization uses fixed statistics.
    """
    ways: dict[str, Steps] = {}
    for format_, fold in itertools.product(
        (torch.contiguous_format, torch.channels_last), (False, True)
    ):
        network = Timm(architecture=architecture)
        model = create_model(network, num_classes=10, image_size=(size, size)).eval()
        model.to(memory_format=format_)
        images = torch.randn(batch_size, 3, size, size).contiguous(memory_format=format_)
        if fold and not fold_frozen_batch_norm(model, images[:1]):
            continue
        words = str(format_).removeprefix("torch.") + (", folded" if fold else "")
        ways[f"fp32, {words}"] = Steps(model, images, bf16=False)
        ways[f"bf16, {words}"] = Steps(model, images, bf16=True)
    for work in ("train", "predict"):
        timed = {name: Rounds(getattr(steps, work)) for name, steps in ways.items()}
        take_turns(list(timed.values()), rounds)
        for name, way in timed.items():
            speed = batch_size / way.best
            print(f"{architecture} at {size}, {work}, {name}: {speed:,.1f} images/s", flush=True)


if __name__ == "__main__":
    main()
