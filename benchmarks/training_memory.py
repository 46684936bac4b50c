#!/usr/bin/env python3
"""How much memory does a training on 50,000 images take?

For each recipe and precision, a process of its own holds 50,000 random images of 32×32 pixels and
5,000 more to validate, trains some steps and validates, as the first epoch of rule `train` does,
writes a checkpoint, and prints the most memory that it ever had (of a GPU: that its PyTorch
allocated).

    benchmarks/training_memory.py [--steps 20]

About five minutes on two cores.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

IMAGES, VALID = 50_000, 5_000
# Recipe, precision, and micro_batch_size, if it is not to be the recipe's.
CASES = (
    ("d2l-full", "auto", None),
    ("d2l-full", "fp32", None),
    ("d2l-full", "fp32", 64),
    ("d2l", "auto", None),
    ("fast", "auto", None),
)


def measure(
    recipe_name: str, precision: str, micro_batch_size: int | None, steps: int, folder: Path
) -> None:
    """Train in this process, and print what it took."""
    import torch

    from imagepipe.config.configuration import load_configuration
    from imagepipe.dataset.packed import PackedImages
    from imagepipe.device.devices import choose_precision, chosen_device, device_name
    from imagepipe.training.loop import train
    from imagepipe.training.runs import training_data
    from imagepipe.training.saving import Checkpoints
    from imagepipe.training.state import TrainingSpec

    # Images of the full size, which a recipe may come to in later epochs only.
    override = {"precision": precision, "epochs": 1, "progressive_resizing": []}
    if micro_batch_size is not None:
        override |= {"micro_batch_size": micro_batch_size}
    settings = {"recipe": recipe_name, "override": override}
    recipe = load_configuration(settings, ROOT / "workflow").recipe
    images = np.load(folder / "images.npy", mmap_mode="c")
    splits = np.where(np.arange(len(images)) < IMAGES, "train", "valid")
    names = [str(number) for number in range(len(images))]
    labels = [str(number % 10) for number in range(len(images))]
    spec = TrainingSpec(recipe, 0, [0.5] * 3, [0.25] * 3)
    classes = [str(number) for number in range(10)]
    data = training_data(PackedImages(images, names, labels), classes, list(splits))
    few = replace(data, train_rows=data.train_rows[: steps * recipe.batch_size])
    with chosen_device("auto", gpus=1) as device:
        chosen, _ = choose_precision(recipe.precision, device)
        checkpoints = Checkpoints(folder / "checkpoint", f"{recipe_name} {precision}")
        train(few, spec, device, chosen, folder / "history.csv", checkpoints)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        gpu = f", GPU {torch.cuda.max_memory_allocated() / 1e9:.2f} GB" if device.index == 0 else ""
        chunk = recipe.micro_batch_size
        chunks = f" in chunks of {chunk}" if chunk else ""
        print(
            f"{recipe_name}, batch {recipe.batch_size}{chunks}, {chosen}, "
            f"on {device_name(device)}: {peak / 1e9:.2f} GB{gpu}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--case", nargs=4, metavar=("RECIPE", "PRECISION", "CHUNK", "FOLDER"))
    arguments = parser.parse_args()
    if arguments.case:
        recipe, precision, chunk, folder = arguments.case
        micro_batch_size = None if chunk == "None" else int(chunk)
        measure(recipe, precision, micro_batch_size, arguments.steps, Path(folder))
        return
    with tempfile.TemporaryDirectory() as folder:
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (IMAGES + VALID, 32, 32, 3), dtype=np.uint8)
        np.save(Path(folder) / "images.npy", images)
        del images
        for case in CASES:
            command = [sys.executable, __file__, "--steps", str(arguments.steps), "--case"]
            subprocess.run(
                [*command, *map(str, case), folder], check=True, stderr=subprocess.DEVNULL
            )


if __name__ == "__main__":
    main()
