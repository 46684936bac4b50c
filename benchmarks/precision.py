#!/usr/bin/env python3
"""Is accuracy paid for speed? Recipe `d2l` in bf16 beside float32, several seeds each.

Both train on the 1,000 images of the book's small sample by the function of rule `retrain`, and
classify 4,068 other images of CIFAR-10, each in its own precision. Apart from the precision, the
two trainings of a seed are the same: first weights, order, augmentation.

    benchmarks/precision.py --data FOLDER --work FOLDER [--seeds 5] [--epochs 20]

FOLDER of --data holds kaggle_cifar10_tiny.zip and cifar10-lossless.zip (PNG images under their
Kaggle ids, with labels). About 50 minutes on two cores.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from chapter import accuracy_ours, prepare, train_ours

from imagepipe.config.recipe import Precision
from imagepipe.device.devices import device_name

PRECISIONS: tuple[Precision, ...] = ("bf16", "fp32")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    images, labels, device = prepare(arguments.data, work)
    print(
        f"PyTorch {torch.__version__}, {device_name(device)}, {torch.get_num_threads()} threads; "
        f"recipe d2l, {arguments.epochs} epochs of 1,000 images, "
        f"accuracy on {len(images):,} others",
        flush=True,
    )
    accuracies: dict[Precision, list[float]] = {precision: [] for precision in PRECISIONS}
    for seed in range(arguments.seeds):
        line = []
        for precision in PRECISIONS:
            model, speed = train_ours(
                work, seed, {"precision": precision, "epochs": arguments.epochs}
            )
            accuracy = accuracy_ours(model, images, labels, device, precision)
            accuracies[precision].append(accuracy)
            line.append(f"{precision} {accuracy:.4f} ({speed:.0f} images/s)")
        print(f"seed {seed}: {', '.join(line)}", flush=True)
    figures = np.array([accuracies[precision] for precision in PRECISIONS])
    for precision, row in zip(PRECISIONS, figures, strict=True):
        print(f"{precision} {row.mean():.4f} ± {row.std(ddof=1):.4f} (n = {len(row)})")
    error = np.sqrt((figures.var(axis=1, ddof=1) / figures.shape[1]).sum())
    difference = figures[0].mean() - figures[1].mean()
    print(f"difference {difference:+.4f}, one standard error of it {error:.4f}")


if __name__ == "__main__":
    main()
