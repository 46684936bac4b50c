#!/usr/bin/env python3
"""How long does it take from the competition's archives to arrays that training reads?

Builds the competition's files at full size (50,000 + 300,000 PNG images, 787 MB), takes them
through the real workflow by both layouts, and prints the time of each stage. Two figures have a
target: the whole time is at most twice that of the 7-Zip program alone, which unpacks both archives
in the same run (where it is installed), and no process takes more than 700 MB.

For comparison, from the same run: unpacking the training images with py7zr's own `extractall`, the
book's reorganisation by copying, decoding with Pillow's `Image.open` once, and, beside the look at
the data, reading the arrays once.

    benchmarks/ingest.py --data FOLDER --work FOLDER [--rounds 3] [--test 300000]

Each round leaves up to 2.4 GB in a new folder. FOLDER of --data holds make_kaggle.py, which builds
the competition's files (`--out`, `--test N`).
One round takes about ten minutes on two cores. Where other work disturbs, take several: the best
counts.
"""

import argparse
import csv
import hashlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import py7zr
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
RULES = ("fetch", "extract", "tables", "labels", "split", "reorganise", "pack")
PROGRAMS = ("7zz", "7z", "7za")
MOST_TIMES_THE_PROGRAM = 2.0
MOST_MEMORY = 700_000_000


class MemoryWatch:
    """Looks at this process's children, and theirs, for the most memory that any of them had."""

    def __init__(self) -> None:
        self.peak = 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self) -> None:
        while not self.stop.wait(0.1):
            for child in psutil.Process().children(recursive=True):
                status = Path(f"/proc/{child.pid}/status")
                try:
                    lines = status.read_text().splitlines()
                except OSError:
                    continue
                for line in lines:
                    if line.startswith("VmHWM"):
                        self.peak = max(self.peak, int(line.split()[1]) * 1024)

    def __enter__(self) -> "MemoryWatch":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def snakemake(directory: Path, raw: Path, layout: str, *targets: str) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--directory", str(directory)]
    config = ["dataset=cifar10", f"raw_dir={raw}", f"layout={layout}"]
    done = subprocess.run(
        [*command, *targets, "--config", *config], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def stage_seconds(directory: Path) -> str:
    """Say what the stages that are benchmarked took, as Snakemake measured it."""
    parts: list[str] = []
    for rule in RULES:
        path = directory / f"logs/cifar10/{rule}.benchmark.tsv"
        if path.is_file():
            with path.open(newline="") as file:
                (row,) = csv.DictReader(file, delimiter="\t")
            parts.append(f"{rule} {float(row['s']):.1f}")
    return ", ".join(parts)


def show_memory(memory: MemoryWatch) -> None:
    verdict = "at most" if memory.peak <= MOST_MEMORY else "MORE THAN"
    most = f"{verdict} {MOST_MEMORY / 1e6:.0f} MB"
    print(f"  most memory of any process: {memory.peak / 1e6:.0f} MB, {most}", flush=True)


def unpack_with_program(raw: Path, target: Path) -> float | None:
    """Return the seconds that the 7-Zip program takes for both archives, if there is one."""
    program = next((name for name in PROGRAMS if shutil.which(name)), None)
    if program is None:
        return None
    command = [program, "x", "-y", "-bso0", "-bsp0", f"-o{target}"]
    return seconds(
        lambda: [
            subprocess.run([*command, str(raw / f"{split}.7z")], check=True)
            for split in ("train", "test")
        ]
    )


def unpack_with_py7zr(raw: Path, target: Path) -> str:
    def work() -> None:
        with py7zr.SevenZipFile(raw / "train.7z") as archive:
            archive.extractall(target)

    return f"py7zr's extractall, 50,000 training images: {seconds(work):.1f} s"


def copy_as_the_book(extracted: Path, split: Path, target: Path) -> float:
    """Copy every image into the book's folders, as its `reorg_cifar10_data` does."""

    def copy(source: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder)

    def work() -> None:
        with split.open(newline="") as file:
            for row in csv.DictReader(file):
                source = extracted / "train" / f"{row['id']}.png"
                copy(source, target / "train_valid" / row["label"])
                copy(source, target / row["split"] / row["label"])
        for source in (extracted / "test").iterdir():
            copy(source, target / "test" / "unknown")

    return seconds(work)


def decode_with_pillow(folders: Sequence[Path]) -> float:
    def work() -> None:
        for folder in folders:
            for path in folder.glob("*.png"):
                with Image.open(path) as image:
                    np.asarray(image)

    return seconds(work)


def read_arrays(packed: Path) -> float:
    def work() -> None:
        for name in ("labelled.npy", "test.npy"):
            with (packed / name).open("rb") as file:
                while file.read(1 << 20):
                    pass

    return seconds(work)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--test", type=int, default=300_000)
    arguments = parser.parse_args()
    work: Path = arguments.work.resolve()
    raw = work / f"kaggle-{arguments.test}"
    if not (raw / "sampleSubmission.csv").is_file():
        print("build the competition's files …", flush=True)
        script = arguments.data / "make_kaggle.py"
        command = [sys.executable, str(script), "--out", str(raw), "--test", str(arguments.test)]
        subprocess.run(command, check=True)
    size = sum(file.stat().st_size for file in raw.glob("*.7z"))
    print(f"50,000 + {arguments.test:,} images, {size / 1e6:,.0f} MB", flush=True)

    hashes: dict[str, list[str]] = {}
    times: dict[str, float] = {}
    for layout in ("folders", "packed"):
        taken: list[tuple[float, str]] = []
        with MemoryWatch() as memory:
            for number in range(arguments.rounds):
                # A new one each time: a file system that has just removed 350,000 files is slow.
                directory = work / f"{layout}-{number}"
                if directory.exists():
                    sys.exit(f"{directory}: is there already; give another folder for --work")
                targets = ("pack", "reorganise" if layout == "folders" else "split")
                one = seconds(partial(snakemake, directory, raw, layout, *targets))
                taken.append((one, stage_seconds(directory)))
        best, stages = min(taken)
        times[layout] = best
        every = ", ".join(f"{one:.1f}" for one, _ in taken)
        print(f"layout {layout}: {best:.1f} s of {every} ({stages})", flush=True)
        show_memory(memory)
        packed = directory / "data/cifar10/packed/32x32"
        hashes[layout] = [
            hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(packed.iterdir())
        ]
    print(f"same bytes in both layouts: {hashes['folders'] == hashes['packed']}", flush=True)

    reading = read_arrays(packed)
    with MemoryWatch() as memory:
        looking = seconds(partial(snakemake, directory, raw, "packed", "check_data"))
    print(f"look at the data: {looking:.1f} s; reading the arrays alone: {reading:.1f} s")
    show_memory(memory)

    extracted = work / "folders-0/data/cifar10/extracted"
    split = work / "folders-0/data/cifar10/split.csv"
    for name in ("7zip", "py7zr", "book"):
        shutil.rmtree(work / name, ignore_errors=True)
    alone = unpack_with_program(raw, work / "7zip")
    if alone is None:
        print(f"7-Zip alone: none of {', '.join(PROGRAMS)} is on the path", flush=True)
    else:
        print(f"7-Zip alone: {alone:.1f} s", flush=True)
        for layout, best in times.items():
            verdict = "at most" if best <= MOST_TIMES_THE_PROGRAM * alone else "MORE THAN"
            most = f"{verdict} {MOST_TIMES_THE_PROGRAM:.1f}"
            print(f"  layout {layout}: {best / alone:.2f} times as long, {most}", flush=True)
    print(unpack_with_py7zr(raw, work / "py7zr"), flush=True)
    copying = copy_as_the_book(extracted, split, work / "book")
    print(f"the book's reorganisation by copying: {copying:.1f} s", flush=True)
    decoding = decode_with_pillow([extracted / "train", extracted / "test"])
    print(f"Pillow's Image.open, once, one process: {decoding:.1f} s", flush=True)


if __name__ == "__main__":
    main()
