#!/usr/bin/env python3
"""How fast does a model predict new image files, compared with the workflow's own stages?

The files are decoded and predicted by `imagepipe.load(…).predict`, and by the functions of the
rules `pack` (decoding alone) and `predict`, which it should not be much slower than: at least 0.9
times their pace. Both give the same labels.

    benchmarks/predict_new_images.py --work FOLDER [--images 10000] [--rounds 3]

Drawn images, PNG of 32 × 32 pixels and JPEG of 500 × 375, go into FOLDER; the networks are not
trained, which does not change the pace. Where other work disturbs, take more rounds: the best
counts.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from imagepipe.config.recipe import Network, SmallCNN  # noqa: E402
from imagepipe.dataset.array_writing import write_arrays  # noqa: E402
from imagepipe.dataset.fitting import Target  # noqa: E402
from imagepipe.dataset.manifests import Image as ListedImage  # noqa: E402
from imagepipe.dataset.packing import extracted_images  # noqa: E402
from imagepipe.files import write_rows  # noqa: E402
from imagepipe.models.create import create_model  # noqa: E402
from imagepipe.models.model_files import ModelDescription, save_model  # noqa: E402
from imagepipe.prediction.logits import read_predictions  # noqa: E402
from imagepipe.prediction.new_images import available_cores, load  # noqa: E402
from imagepipe.prediction.predict import predict_test  # noqa: E402

LEAST_RATIO = 0.9
CLASSES = [f"class {number}" for number in range(10)]


@dataclass(frozen=True)
class Case:
    """Images of one kind, and a network for them."""

    name: str
    ending: str
    width: int
    height: int
    network: Network
    size: int


CASES = (
    Case("PNG 32×32", "png", 32, 32, SmallCNN(), 32),
    Case("JPEG 500×375", "jpg", 500, 375, SmallCNN(width=8), 96),
)


def draw(folder: Path, case: Case, count: int) -> None:
    """Write images with smooth areas and some noise, as photographs have."""
    folder.mkdir(parents=True, exist_ok=True)

    def one(number: int) -> None:
        path = folder / f"{number}.{case.ending}"
        if path.exists():
            return
        random = np.random.default_rng(number)
        coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((case.width, case.height), Image.Resampling.BICUBIC))
        noisy = smooth + random.normal(0, 8, smooth.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, range(1, count + 1)))


def write_model(path: Path, case: Case) -> None:
    torch.manual_seed(0)
    size = [case.size, case.size]
    description = ModelDescription(
        model=case.network,  # type: ignore[arg-type]
        classes=CLASSES,
        several_labels=False,
        stored_size=size,
        fit="crop",
        image_size=size,
        mean=[0.5] * 3,
        std=[0.25] * 3,
        test_time_augmentation="flip",
    )
    save_model(path, create_model(description.model, len(CLASSES)), description)


def by_stages(images: Path, count: int, case: Case, model: Path, work: Path) -> list[str]:
    """Decode the images into an array, predict it, and return the labels."""
    names = [f"{number}.{case.ending}" for number in range(1, count + 1)]
    listed = [
        ListedImage(str(row), name, (images / name).stat().st_size, 0, row)
        for row, name in enumerate(names)
    ]
    array = work / "test.npy"
    target = Target(case.size, case.size, "crop")
    write_arrays(
        extracted_images(images, listed),
        {array: count},
        target,
        available_cores(),
        file_bytes=sum(image.size for image in listed),
    )
    write_rows(work / "test.csv", ("row", "id", "label"), ((n, n, "") for n in range(count)))
    predict_test(
        model,
        array,
        work / "test.csv",
        work / "logits.npz",
        batch_size=500,
        precision="auto",
        tf32=False,
        deterministic=True,
        device="auto",
        gpus=1,
        threads=available_cores(),
    )
    return [CLASSES[best] for best in read_predictions(work / "logits.npz").logits.argmax(axis=1)]


def by_load(images: Path, model: Path) -> list[str]:
    return [one.label for one in load(model).predict(images)]


def timed(work: Callable[[], list[str]]) -> tuple[float, list[str]]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    count = arguments.images
    print(f"{count:,} files, {available_cores()} of {os.cpu_count()} cores", flush=True)
    torch.set_num_threads(available_cores())
    for case in CASES:
        work = arguments.work / f"{case.ending}-{count}"
        draw(work / "images", case, count)
        write_model(work / "model.safetensors", case)
        model, images = work / "model.safetensors", work / "images"
        stages, ours = [], []
        for _ in range(arguments.rounds):
            seconds, expected = timed(partial(by_stages, images, count, case, model, work))
            stages.append(seconds)
            seconds, labels = timed(partial(by_load, images, model))
            ours.append(seconds)
        ratio = min(stages) / min(ours)
        verdict = "at least" if ratio >= LEAST_RATIO else "LESS THAN"
        print(
            f"{case.name}, {case.network.name}: {count / min(ours):,.0f} images/s; pack and "  # type: ignore[attr-defined]
            f"predict {count / min(stages):,.0f}/s; {ratio:.2f} times their pace, {verdict} "
            f"{LEAST_RATIO}; same labels: {labels == expected}",
            flush=True,
        )


if __name__ == "__main__":
    main()
