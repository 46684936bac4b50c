#!/usr/bin/env python3
"""How fast are photos packed, beside a plain loop with Pillow?

Draws JPEG files of 500×375 pixels, and then, in rounds: packs them at 224×224 pixels by the
function of rule `pack`, which also measures the channels and writes the arrays; and opens,
converts and resizes them by Pillow, `Image.open(path).convert("RGB").resize((224, 224))`, and
drops the result. Both have as many processes. Two figures have a target: the ratio of the two,
best round each, is at least 2, and no process takes more than 700 MB.

    benchmarks/pack_photos.py --work FOLDER [--images 20000] [--rounds 3] [--processes 2]

20,000 images take 1 GB in FOLDER, which is reused, and their array 3 GB.
"""

import argparse
import io
import os
import sys
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from ingest import MOST_MEMORY, MemoryWatch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from imagepipe.config.image_form import image_form  # noqa: E402
from imagepipe.dataset.packing import pack  # noqa: E402

HEIGHT, WIDTH, SIZE = 375, 500, 224
# Pillow's default. The files have 45 KB, those of Kaggle's dog breeds 35 KB.
QUALITY = 75
PICTURES = 20
LEAST_RATIO = 2.0
PATHS_AT_ONCE = 200


def draw_picture(seed: int) -> np.ndarray:
    """Return a picture, uint8 [HEIGHT, WIDTH, 3], with the spectrum of photos.

    Its left and right sides fit together, and its top and bottom.
    """
    noise = np.random.default_rng(seed).normal(size=(HEIGHT, WIDTH, 3))
    rows, columns = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None]
    frequency = np.maximum(np.hypot(rows, columns), 1 / WIDTH)[..., None]
    spectrum = np.fft.rfft2(noise, axes=(0, 1)) / frequency**1.2
    values = np.fft.irfft2(spectrum, s=(HEIGHT, WIDTH), axes=(0, 1))
    scaled: np.ndarray = 120 + 50 * (values - values.mean()) / values.std()
    return scaled.clip(0, 255).astype(np.uint8)


def write_photos(folder: Path, numbers: Sequence[int]) -> list[str]:
    """Write photos, each a picture that is shifted, and return their rows of the manifest."""
    pictures = [draw_picture(seed) for seed in range(PICTURES)]
    rows: list[str] = []
    for number in numbers:
        draw = np.random.default_rng(number)
        shift = (int(draw.integers(HEIGHT)), int(draw.integers(WIDTH)))
        picture = np.roll(pictures[number % PICTURES], shift, axis=(0, 1))
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=QUALITY)
        content = file.getvalue()
        split = "test" if number == 0 else "train"
        (folder / f"{split}/{number}.jpg").write_bytes(content)
        fields = (f"{split}/{number}.jpg", len(content), f"{zlib.crc32(content):08x}", number)
        rows.append("\t".join(map(str, fields)))
    return rows


def write_dataset(folder: Path, images: int, processes: int) -> None:
    """Write what the rules `extract` and `labels` write: one test image, the others labelled."""
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
    parts = [range(first, images, processes) for first in range(processes)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        rows = [row for part in pool.map(partial(write_photos, folder), parts) for row in part]
    rows.sort(key=lambda row: int(row.rpartition("\t")[2]))
    lines = ["path\tbytes\tcrc32\tnumber", *rows[1:], rows[0]]
    labels = ["id,label", *(f"{number},{number % 10}" for number in range(1, images))]
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    (folder / "test.csv").write_text("id,submission_id\n0,0\n")
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n")


def pack_photos(folder: Path, processes: int) -> float:
    start = time.perf_counter()
    form = image_form(None, [SIZE, SIZE], "squash")
    tables = (folder / "labels.csv", folder / "test.csv")
    pack(folder, *tables, folder / "packed", form, workers=processes)
    return time.perf_counter() - start


def resize_plainly(paths: Sequence[str]) -> int:
    for path in paths:
        Image.open(path).convert("RGB").resize((SIZE, SIZE))
    return len(paths)


def resize_photos(folder: Path, processes: int) -> float:
    start = time.perf_counter()
    paths = [str(path) for split in ("train", "test") for path in (folder / split).iterdir()]
    parts = [paths[n : n + PATHS_AT_ONCE] for n in range(0, len(paths), PATHS_AT_ONCE)]
    with ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as pool:
        done = sum(pool.map(resize_plainly, parts))
    assert done == len(paths)
    return time.perf_counter() - start


def in_own_process(work: partial[float]) -> tuple[float, int]:
    """Return what a function returns in a process of its own, and the most memory of any process.

    The processes that it starts count as well.
    """
    with (
        MemoryWatch() as memory,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        return pool.submit(work).result(), memory.peak


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    folder: Path = arguments.work.resolve() / f"photos-{arguments.images}"
    if not (folder / "manifest.tsv").is_file():
        print("draw the photos …", flush=True)
        write_dataset(folder, arguments.images, arguments.processes)
    size = sum(path.stat().st_size for path in (folder / "train").iterdir())
    print(
        f"{arguments.images:,} JPEG files of {WIDTH}×{HEIGHT} pixels, {size / 1e6:,.0f} MB; "
        f"{arguments.processes} processes each",
        flush=True,
    )
    best, peak = dict.fromkeys((pack_photos, resize_photos), float("inf")), 0
    for number in range(1, arguments.rounds + 1):
        seconds: list[float] = []
        for way in best:
            taken, memory = in_own_process(partial(way, folder, arguments.processes))
            seconds.append(taken)
            best[way] = min(best[way], taken)
            if way is pack_photos:
                peak = max(peak, memory)
        packing, plain = seconds
        ratio = plain / packing
        print(f"round {number}: {packing:.2f} s; Pillow {plain:.2f} s; {ratio:.2f}", flush=True)
    packing, plain = best.values()
    verdict = "at least" if plain / packing >= LEAST_RATIO else "LESS THAN"
    print(
        f"best: {arguments.images / packing:,.0f} images/s; "
        f"Pillow {arguments.images / plain:,.0f}; "
        f"ratio {plain / packing:.2f}, {verdict} {LEAST_RATIO:.1f}"
    )
    verdict = "at most" if peak <= MOST_MEMORY else "MORE THAN"
    print(f"most memory of any process: {peak / 1e6:.0f} MB, {verdict} {MOST_MEMORY / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
