#!/usr/bin/env python3
"""One training by two processes, each with one thread, beside one process with one thread or two.

Each trains three epochs on random images, by the function of rule `train`, on the CPU; the rates
are those of the last epoch, best of several rounds in turn. Two processes that lost nothing to each
other would be twice as fast as one.

    benchmarks/processes.py [--recipes fast,d2l-full] [--images 2000] [--rounds 3]
"""

import argparse
import csv
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from imagepipe.config.configuration import load_configuration  # noqa: E402
from imagepipe.launch.launching import run_training  # noqa: E402
from imagepipe.training.runs import (  # noqa: E402
    Machine,
    Run,
    TrainingInputs,
    TrainingOutputs,
)
from imagepipe.training.state import TrainingSpec  # noqa: E402

EPOCHS = 3
# name: processes, threads of all of them
WAYS = {
    "one process, one thread": (1, 1),
    "one process, two threads": (1, 2),
    "two processes, one thread each": (2, 2),
}


def write_images(folder: Path, count: int) -> TrainingInputs:
    """Write what rule `pack` writes, of random images in ten classes."""
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    np.save(folder / "labelled.npy", images)
    lines = [f"{row},{row},{row % 10}" for row in range(count)]
    (folder / "labelled.csv").write_text("\n".join(["row,id,label", *lines]) + "\n")
    (folder / "classes.txt").write_text("".join(f"{number}\n" for number in range(10)))
    names = ("labelled.npy", "labelled.csv", "classes.txt")
    return TrainingInputs(*(folder / name for name in names))


def images_per_second(
    inputs: TrainingInputs, recipe_name: str, processes: int, threads: int
) -> float:
    # As many steps as on all images, however few are trained on.
    override = {"epochs": EPOCHS, "min_steps_per_epoch": 1, "progressive_resizing": []}
    settings = {"recipe": recipe_name, "override": override}
    recipe = load_configuration(settings, ROOT / "workflow").recipe
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = ("model", "history.csv", "metrics.json", "run")
        outputs = TrainingOutputs(*(folder / name for name in names))
        spec = TrainingSpec(recipe, 0, [0.5] * 3, [0.25] * 3)
        machine = Machine("cpu", 0, threads, 60, processes_per_node=processes)
        run_training(Run(recipe_name, inputs, outputs, spec, "", folder / "checkpoint", machine))
        with (folder / "history.csv").open(newline="") as file:
            *_, last = csv.DictReader(file)
    return float(last["examples_per_second"])


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--recipes", default="fast,d2l-full")
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"PyTorch {torch.__version__}; {arguments.images:,} images of 32 pixels", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_images(Path(folder), arguments.images)
        for recipe in arguments.recipes.split(","):
            best = dict.fromkeys(WAYS, 0.0)
            for _ in range(arguments.rounds):
                for way, (processes, threads) in WAYS.items():
                    rate = images_per_second(inputs, recipe, processes, threads)
                    best[way] = max(best[way], rate)
            alone, threaded, shared = best.values()
            for way, rate in best.items():
                print(f"{recipe}: {rate:6.0f} images/s, {way}", flush=True)
            print(
                f"{recipe}: two processes reach {shared / alone / 2:.0%} of twice one with one "
                f"thread, and {shared / threaded:.2f} times one with two threads",
                flush=True,
            )


if __name__ == "__main__":
    main()
