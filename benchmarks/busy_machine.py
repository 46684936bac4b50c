#!/usr/bin/env python3
"""What one other busy program costs a training, with libgomp's own spinning and with ours.

Steps of recipe `fast` in fp32, on batches of 90 images that are prepared already, in a process of
its own for each figure: alone, beside a program that keeps one core busy, and two trainings at
once. The ways take turns; the best of the rounds counts.

    benchmarks/busy_machine.py [--seconds 6] [--rounds 3]

About two and a half minutes on two cores.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from imagepipe.config.openmp import SPINS  # noqa: E402

BATCH, IMAGES = 90, 900
CASES = ("alone", "beside a busy program", "two at once")
WAYS = {"libgomp's own": {}, f"GOMP_SPINCOUNT={SPINS}": {"GOMP_SPINCOUNT": SPINS}}


def images_per_second(seconds: float) -> float:
    """Train steps of `fast` for some seconds, and return the pace."""
    import numpy as np
    import torch

    from imagepipe.augmentation.mixing import MixedLabels
    from imagepipe.config.configuration import load_configuration
    from imagepipe.training.loop import learn
    from imagepipe.training.state import TrainingData, begin

    recipe = load_configuration({"recipe": "fast"}, ROOT / "workflow").recipe
    numbers = np.random.default_rng(0)
    images = numbers.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    labels, rows = numbers.integers(0, 10, IMAGES), np.arange(IMAGES)
    data = TrainingData(images, labels, rows, rows[:0], 10, [0.5] * 3, [0.25] * 3)
    training = begin(data, recipe, 0, torch.device("cpu"), "fp32")
    batch = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    mixed = MixedLabels(torch.arange(BATCH) % 10)

    def step() -> None:
        training.set_rates(training.steps // 2)
        learn(training, batch, mixed, BATCH)

    step()
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        step()
        steps += 1
    return steps * BATCH / (time.perf_counter() - start)


def measured(seconds: float, settings: dict[str, str], processes: int = 1) -> list[float]:
    """Return the paces of so many trainings at once."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("GOMP_", "OMP_"))}
    command = [sys.executable, __file__, "--steps", "--seconds", str(seconds)]
    running = [
        subprocess.Popen(command, env=plain | settings, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    return [float(process.communicate()[0]) for process in running]


@contextmanager
def busy_program() -> Iterator[None]:
    """Keep one core busy by a program of another session, as a desktop's other programs are."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.steps:
        print(images_per_second(arguments.seconds))
        return
    found: dict[str, list[float]] = {f"{way}, {case}": [] for case in CASES for way in WAYS}
    for _ in range(arguments.rounds):
        for way, settings in WAYS.items():
            found[f"{way}, alone"] += measured(arguments.seconds, settings)
        with busy_program():
            for way, settings in WAYS.items():
                found[f"{way}, beside a busy program"] += measured(arguments.seconds, settings)
        for way, settings in WAYS.items():
            pair = measured(arguments.seconds, settings, processes=2)
            found[f"{way}, two at once"].append(sum(pair) / 2)
    own, ours = WAYS
    for case in CASES:
        before, after = max(found[f"{own}, {case}"]), max(found[f"{ours}, {case}"])
        print(
            f"{case}: {before:,.0f} images/s with {own}, {after:,.0f} with {ours}: "
            f"{after / before:.2f} times"
        )


if __name__ == "__main__":
    main()
