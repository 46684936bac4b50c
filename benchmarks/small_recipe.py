#!/usr/bin/env python3
"""How good is a recipe on 1,000 images? `small`, or others, several seeds each.

Each trains on the 1,000 images of the book's small sample by the function of rule `retrain`, and
classifies 4,068 other images of CIFAR-10 as rule `predict` does, with the test-time augmentation of
the recipe.

    benchmarks/small_recipe.py --data FOLDER --work FOLDER [--recipes small,d2l] [--seeds 3]

FOLDER of --data holds kaggle_cifar10_tiny.zip and cifar10-lossless.zip (PNG images under their
Kaggle ids, with labels).
"""

import argparse
import time
from pathlib import Path

import torch
from chapter import accuracy_ours, prepare, train_ours
from fast_recipe import summary

from imagepipe.device import device_name


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--recipes", default="small,d2l")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    images, labels, device = prepare(arguments.data, work)
    print(
        f"PyTorch {torch.__version__}, {device_name(device)}, {torch.get_num_threads()} threads; "
        f"trained on 1,000 images, accuracy on {len(images):,} others",
        flush=True,
    )
    for recipe in arguments.recipes.split(","):
        accuracies = []
        for seed in range(arguments.seeds):
            start = time.perf_counter()
            model, _ = train_ours(work, seed, recipe_name=recipe)
            seconds = time.perf_counter() - start
            accuracies.append(accuracy_ours(model, images, labels, device))
            print(f"{recipe}, seed {seed}: {accuracies[-1]:.4f} in {seconds:.0f} s", flush=True)
        print(summary(recipe, accuracies))


if __name__ == "__main__":
    main()
