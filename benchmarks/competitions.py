#!/usr/bin/env python3
"""Twelve competitions, small: from the bundle to a graded submission.

For each replica, `imagepipe init` writes the dataset file from the bundle, `LINES` replaces the
lines that it asks a person for, one call of snakemake makes the submission, and the replicas' own
grader grades it. Prints a line for each: slug, seconds of the slowest call, mean grade over the
seeds, the grade to reach, and whether it is reached.

    benchmarks/competitions.py --replicas FOLDER [--only SLUG ...] [--recipe NAME] [--seeds 3]

FOLDER holds make_competitions.py, or is named by IMAGEPIPE_COMPETITIONS. About 50 minutes on two
cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from imagepipe.config.metric_names import higher_is_better  # noqa: E402

IMAGEPIPE = [sys.executable, "-m", "imagepipe.cli"]

# What the competition's page says, and the files do not: at most two lines of the dataset file.
LINES: dict[str, dict[str, Any]] = {
    "aerial-cactus-identification": {},
    "aptos2019-blindness-detection": {"metric": "quadratic_weighted_kappa"},
    "cassava-leaf-disease-classification": {},
    "digit-recognizer": {},
    "dog-breed-identification": {},
    "dogs-vs-cats-redux-kernels-edition": {
        "submission": {"name": "probability", "positive": "dog"},
        "metric": "log_loss",
    },
    "leaf-classification": {},
    "plant-pathology-2020-fgvc7": {"metric": "mean_column_roc_auc"},
    "plant-seedlings-classification": {"metric": "f1_micro"},
    "siim-isic-melanoma-classification": {},
    "state-farm-distracted-driver-detection": {},
    "whale-categorization-playground": {},
}
# The replicas' README: what a network trained from nothing for a minute or two should get to.
REACH = {
    "aerial-cactus-identification": 0.90,
    "aptos2019-blindness-detection": 0.50,
    "cassava-leaf-disease-classification": 0.85,
    "digit-recognizer": 0.80,
    "dog-breed-identification": 4.5,
    "dogs-vs-cats-redux-kernels-edition": 0.35,
    "leaf-classification": 4.0,
    "plant-pathology-2020-fgvc7": 0.85,
    "plant-seedlings-classification": 0.85,
    "siim-isic-melanoma-classification": 0.90,
    "state-farm-distracted-driver-detection": 1.0,
    "whale-categorization-playground": 0.45,
}


def write_dataset(replica: Path, target: Path) -> None:
    """Write the dataset file of a replica, with the lines that need a person."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow" / "scripts")}
    bundle = replica / "raw" / f"{replica.name}.zip"
    command = [*IMAGEPIPE, "init", str(bundle), "-o", str(target), "--force"]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    lines = LINES[replica.name]
    if lines:
        dataset = yaml.safe_load(target.read_text(encoding="utf-8")) | lines
        target.write_text(yaml.safe_dump(dataset, sort_keys=False), encoding="utf-8")


def submit(
    replica: Path, directory: Path, dataset: Path, seed: int, options: tuple[str, ...]
) -> float:
    """Make the submission in an empty directory, and return the seconds that it takes."""
    call = [sys.executable, "-m", "snakemake", "--cores", "all", "submission.csv"]
    call += ["--directory", str(directory), "--config", f"dataset={dataset}"]
    call += [f"raw_dir={replica / 'raw'}", f"seed={seed}", *options]
    start = time.perf_counter()
    done = subprocess.run(call, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(done.stdout.decode())
    return time.perf_counter() - start


def grade(replicas: Path, replica: Path, submission: Path) -> float:
    """Return the replicas' own grade of a submission."""
    call = [sys.executable, str(replicas / "make_competitions.py"), "grade"]
    done = subprocess.run([*call, str(replica), str(submission)], check=True, capture_output=True)
    return float(done.stdout.split()[-1])


def verdict(directory: Path, mean: float, reach: float) -> str:
    """Return whether a mean grade is as good as the one to reach, by the metric of a call."""
    (file,) = directory.glob("data/*/metric.json")
    higher = higher_is_better(json.loads(file.read_text(encoding="utf-8"))["name"])
    return "reached" if (mean >= reach if higher else mean <= reach) else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    folder = os.environ.get("IMAGEPIPE_COMPETITIONS")
    parser.add_argument("--replicas", type=Path, default=folder, required=folder is None)
    parser.add_argument("--only", nargs="+", default=list(LINES), choices=list(LINES))
    parser.add_argument("--recipe", default="thumbnails")
    parser.add_argument("--override", default="{}")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    options = (f"recipe={arguments.recipe}", f"override={arguments.override}")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        build = [sys.executable, str(arguments.replicas / "make_competitions.py")]
        build += ["--out", str(work / "replicas"), "--only", *arguments.only]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        print(f"{'slug':<40} {'seconds':>8} {'grade':>8} {'reach':>8}", flush=True)
        for slug in arguments.only:
            replica = work / "replicas" / slug
            write_dataset(replica, work / f"{slug}.yaml")
            seconds, grades = [], []
            for seed in range(arguments.seeds):
                directory = work / f"{slug}-{seed}"
                directory.mkdir()
                seconds.append(submit(replica, directory, work / f"{slug}.yaml", seed, options))
                grades.append(grade(arguments.replicas, replica, directory / "submission.csv"))
            mean = sum(grades) / len(grades)
            print(
                f"{slug:<40} {max(seconds):>8.1f} {mean:>8.3f} {REACH[slug]:>8} "
                f"{verdict(directory, mean, REACH[slug])}",
                flush=True,
            )


if __name__ == "__main__":
    main()
