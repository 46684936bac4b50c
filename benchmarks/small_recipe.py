#!/usr/bin/env python3
"""How good is a recipe on 1,000 images? `small`, or others, several trials each.

A trial trains the recipe's members on the 1,000 images of the book's small sample by the function
of rule `retrain`, each with a seed of its own, classifies 4,068 other images of CIFAR-10 as rule
`predict` does, with the test-time augmentation of the recipe, and averages the members'
probabilities as rule `submission` does. Its time is that of all members' trainings.

    benchmarks/small_recipe.py --data FOLDER --work FOLDER [--recipes small,d2l] [--trials 3]

FOLDER of --data holds kaggle_cifar10_tiny.zip and cifar10-lossless.zip (PNG images under their
Kaggle ids, with labels).
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from chapter import ROOT, classify_ours, prepare, train_ours
from published_recipes import summary

from imagepipe.config.configuration import load_configuration
from imagepipe.device.devices import device_name
from imagepipe.prediction.logits import class_probabilities


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--recipes", default="small,d2l")
    parser.add_argument("--trials", type=int, default=3)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    images, labels, device = prepare(arguments.data, work)
    print(
        f"PyTorch {torch.__version__}, {device_name(device)}, {torch.get_num_threads()} threads; "
        f"trained on 1,000 images, accuracy on {len(images):,} others",
        flush=True,
    )
    for name in arguments.recipes.split(","):
        members = load_configuration({"recipe": name}, ROOT / "workflow").recipe.members
        of_members, of_trials = [], []
        for trial in range(arguments.trials):
            start = time.perf_counter()
            seeds = range(trial * members, (trial + 1) * members)
            models = [train_ours(work, seed, recipe_name=name)[0] for seed in seeds]
            seconds = time.perf_counter() - start
            all_logits = [classify_ours(model, images, device) for model in models]
            own = [float((logits.argmax(axis=1) == labels).mean()) for logits in all_logits]
            together = np.mean(
                [class_probabilities(logits, several_labels=False) for logits in all_logits], axis=0
            ).argmax(axis=1)
            of_members += own
            of_trials.append(float((together == labels).mean()))
            print(
                f"{name}, seeds {seeds[0]} to {seeds[-1]}: {of_trials[-1]:.4f} in {seconds:.0f} s, "
                f"each alone {', '.join(f'{accuracy:.4f}' for accuracy in own)}",
                flush=True,
            )
        print(summary(name, of_trials))
        print(summary(f"{name}, one member", of_members))


if __name__ == "__main__":
    main()
