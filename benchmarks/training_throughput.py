#!/usr/bin/env python3
"""How fast is the engine? The plain chapter loop and ours in turn, on the same images and network.

The images are those of the generated sample, which the workflow itself draws, reorganises and packs
first. For each batch size, rounds of the plain loop (float32), of ours in the precision that `auto`
picks, and of ours in float32 take turns; the best round of each counts. The share of time outside
the network is that of an epoch of ours beyond the same number of steps on one prepared batch.

    benchmarks/training_throughput.py [--images 512] [--rounds 4] [--workers 0] [--sample FOLDER]

About eight minutes on two cores. On a GPU give more images, and the plain loop its workers; without
Snakemake there, give the folder in which `snakemake pack reorganise` was called elsewhere.
"""

import argparse
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from plain_training import DEVIATIONS, MEANS, plain_epoch, plain_loader, plain_resnet18
from torch import Tensor, nn
from torch.utils.data import DataLoader

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from imagepipe.augmentation.mixing import MixedLabels  # noqa: E402
from imagepipe.augmentation.transforms import augment, draw_augmentation  # noqa: E402
from imagepipe.config.configuration import load_configuration  # noqa: E402
from imagepipe.dataset.packed import read_classes, read_packed  # noqa: E402
from imagepipe.device.devices import choose_precision, chosen_device, device_name  # noqa: E402
from imagepipe.interruption import StopRequest  # noqa: E402
from imagepipe.progress import counter  # noqa: E402
from imagepipe.training.build import Training, build_training  # noqa: E402
from imagepipe.training.loop import train_epoch, update_weights  # noqa: E402
from imagepipe.training.runs import training_data  # noqa: E402
from imagepipe.training.saving import Checkpoints, Saver  # noqa: E402
from imagepipe.training.state import TrainingData, TrainingSpec  # noqa: E402


@dataclass
class Rounds:
    """Seconds of one way's rounds, all of which train on the same number of images."""

    run: Callable[[], object]
    seconds: list[float]

    def __init__(self, run: Callable[[], object]) -> None:
        self.run, self.seconds = run, []

    def one(self) -> None:
        start = time.perf_counter()
        self.run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - start)

    @property
    def best(self) -> float:
        """The first round warms up."""
        return min(self.seconds[1:])


def epoch_of(training: Training) -> Callable[[], object]:
    """Return what trains one epoch by the engine, without checkpoints."""
    saver = Saver(training, Checkpoints(Path(), "", math.inf), StopRequest())

    def run() -> None:
        training.state.step, training.state.seconds = 0, 0.0
        with counter(total=None, description="", unit="images") as bar:
            train_epoch(training, saver, bar)

    return run


def steps_of(training: Training) -> Callable[[], object]:
    """Return what makes an epoch's steps on one batch that is augmented already."""
    augmentation, size = training.recipe.augmentation, training.images.shape[1]
    rows = torch.arange(training.schedule.batch_size, device=training.device)
    draws = draw_augmentation(augmentation, len(rows), (size, size), 0, 0).to(training.device)
    batch = augment(
        training.images[rows], augmentation, draws, training.normalize, training.image_scale
    )
    targets = MixedLabels(training.labels[rows])

    def run() -> None:
        training.model.train()
        for step in range(training.schedule.steps_per_epoch):
            training.state.step = step
            training.set_lr()
            update_weights(training, batch, targets, len(rows))

    return run


def tiled(data: TrainingData, images: int) -> TrainingData:
    """Return data of so many training images, repeated as often as needed, and none held out."""
    rows = np.resize(data.train_rows, images)
    return TrainingData(
        data.images[rows],
        data.labels[rows],
        np.arange(images),
        np.arange(0),
        data.num_classes,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "--images", type=int, default=512, help="of each round; the sample's 1,000 are repeated"
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--workers", type=int, default=0, help="of the plain loop's DataLoader")
    parser.add_argument("--sample", type=Path, help="folder in which the sample is packed already")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = arguments.sample or Path(folder)
        if arguments.sample is None:
            snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
            where = ["--cores", "all", "--directory", str(work), "--quiet", "all"]
            call = [*snakemake, "pack", "reorganise", *where]
            subprocess.run(call, check=True, capture_output=True)
        with chosen_device("auto", gpus=1) as device:
            measure(work / "data" / "sample", device, arguments)


def measure(folder: Path, device: torch.device, arguments: argparse.Namespace) -> None:
    """Print the table of ratios, and that of shares."""
    arrays = folder / "packed/32x32"
    packed = read_packed(arrays / "labelled.npy", arrays / "labelled.csv")
    classes = read_classes(folder / "classes.txt")
    data = training_data(packed, classes)
    auto, reason = choose_precision("auto", device)
    print(
        f"PyTorch {torch.__version__}, {device_name(device)}, {torch.get_num_threads()} threads, "
        f"auto is {auto} ({reason}); {arguments.images} images a round, "
        f"best of {arguments.rounds}",
        flush=True,
    )

    def training(recipe: str, batch_size: int, precision: str) -> Training:
        override = {"batch_size": batch_size, "drop_last": True}
        configuration = load_configuration(
            {"recipe": recipe, "override": override}, ROOT / "workflow"
        )
        few = tiled(data, arguments.images)
        spec = TrainingSpec(configuration.recipe, 0, list(MEANS), list(DEVIATIONS))
        return build_training(few, spec, device, precision)

    tree = folder / "train_valid_test" / "train_valid"
    for batch_size in (128, 32):
        net = plain_resnet18(num_classes=10).to(device)
        trainer = torch.optim.SGD(net.parameters(), lr=2e-4, momentum=0.9, weight_decay=5e-4)
        loader = plain_loader(tree, batch_size, arguments.workers, arguments.images)
        ways = {
            "plain, fp32": Rounds(lambda: plain_round(net, trainer, loader, device)),  # noqa: B023
            f"ours, {auto}": Rounds(epoch_of(training("d2l", batch_size, auto))),
            "ours, fp32": Rounds(epoch_of(training("d2l", batch_size, "fp32"))),
        }
        images = arguments.images // batch_size * batch_size
        take_turns(list(ways.values()), arguments.rounds)
        plain = ways["plain, fp32"].best
        for name, rounds in ways.items():
            print(
                f"ResNet-18, batch {batch_size:>3}, {name:<11}: {images / rounds.best:7,.1f} "
                f"images/s, {plain / rounds.best:.2f} times the plain loop",
                flush=True,
            )

    if device.type != "cpu":
        # There the steps of an epoch are one graph, and those of one batch are not.
        return
    for title, recipe, batch_size in (
        ("ResNet-18", "d2l", 128),
        ("ResNet-18", "d2l", 32),
        ("fast", "fast", 25),
    ):
        subject = training(recipe, batch_size, auto)
        whole, network = Rounds(epoch_of(subject)), Rounds(steps_of(subject))
        take_turns([whole, network], 3 * arguments.rounds)
        print(
            f"{title}, batch {batch_size:>3}, {auto}: "
            f"{1 - network.best / whole.best:.1%} of an epoch is outside the network",
            flush=True,
        )


def plain_round(
    net: nn.Module,
    trainer: torch.optim.Optimizer,
    loader: "DataLoader[tuple[Tensor, Tensor]]",
    device: torch.device,
) -> None:
    """Train an epoch of the plain loop, with PyTorch's own settings for a GPU."""
    ours = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=True):
        plain_epoch(net, trainer, loader, device)
    torch.use_deterministic_algorithms(ours)


def take_turns(ways: list[Rounds], rounds: int) -> None:
    for _ in range(rounds + 1):
        for way in ways:
            way.one()


if __name__ == "__main__":
    main()
