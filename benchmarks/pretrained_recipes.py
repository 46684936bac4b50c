#!/usr/bin/env python3
"""How good are recipes on 1,000 images, all stages included? And what do ensembles of them gain?

Each trial is one call of snakemake in an empty directory: from an archive with the 1,000 images of
the book's small sample, and as its test set 4,068 other images of CIFAR-10, to submission.csv, the
report and the score. Prints the accuracy on the test set and the seconds of each call, medians over
the seeds, and the accuracy of the mean of the probabilities of several recipes.

    benchmarks/pretrained_recipes.py --data FOLDER --work FOLDER [--weights FILE]
        [--recipes probe,finetune-small-images,fast,small] [--seeds 3]

FOLDER of --data holds kaggle_cifar10_tiny.zip and cifar10-lossless.zip (PNG images under their
Kaggle ids, with labels), and perhaps tf_efficientnet_lite0.safetensors, which is used if there is
no --weights. About 50 minutes on two cores.
"""

import argparse
import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from imagepipe.config.configuration import find_file, read_yaml  # noqa: E402
from imagepipe.config.recipe import FrozenFeatures, LibraryNetwork, Recipe  # noqa: E402
from imagepipe.prediction.logits import class_probabilities, read_predictions  # noqa: E402

FIRST_TEST_ID = 10_001
DATASET = {
    "title": "1,000 images of CIFAR-10, and 4,068 others",
    "source": "raw_dir",
    "files": [{"name": "images.zip"}],
    "image_size": 32,
    "labels": {"file": "trainLabels.csv"},
    "true_labels": "testLabels.csv",
    "split": {"name": "book"},
    "mean": [0.4914, 0.4822, 0.4465],
    "std": [0.2023, 0.1994, 0.2010],
}


def write_competition(data: Path, folder: Path) -> None:
    """Write images.zip, with both sets of images and labels, and the dataset file."""
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[tuple[str, str]]] = {"trainLabels.csv": [], "testLabels.csv": []}
    with zipfile.ZipFile(folder / "images.zip", "w") as target:
        for archive, table, is_taken in (
            ("kaggle_cifar10_tiny.zip", "trainLabels.csv", lambda name, _: "/train/" in name),
            ("cifar10-lossless.zip", "testLabels.csv", lambda _, number: number >= FIRST_TEST_ID),
        ):
            with zipfile.ZipFile(data / archive) as source:
                names = source.namelist()
                (labels_file,) = (name for name in names if name.endswith("abels.csv"))
                labels = pd.read_csv(io.BytesIO(source.read(labels_file))).set_index("id")["label"]
                for name in names:
                    number = Path(name).stem
                    if name.endswith(".png") and is_taken(f"/{name}", int(number)):
                        split = table.removesuffix("Labels.csv")
                        target.writestr(f"{split}/{number}.png", source.read(name))
                        tables[table].append((number, labels[int(number)]))
        for name, rows in tables.items():
            text = "".join(f"{number},{label}\n" for number, label in rows)
            target.writestr(name, f"id,label\n{text}")
    (folder / "images.yaml").write_text(yaml.safe_dump(DATASET), encoding="utf-8")


def override_of(recipe: str, weights: Path | None) -> dict[str, object]:
    """Return the change of a recipe that takes its pretrained weights from a file."""
    path = find_file("recipe", recipe, ROOT / "workflow" / "recipes")
    model = Recipe.checked(read_yaml(path, {}), str(path)).model
    if weights is None or not isinstance(model, FrozenFeatures | LibraryNetwork):
        return {}
    section = {"weights": str(weights)}
    return {"model": {"on": section} if isinstance(model, FrozenFeatures) else section}


def submit(competition: Path, directory: Path, recipe: str, seed: int, override: object) -> float:
    """Make the submission in an empty directory, and return the seconds of the call."""
    directory.mkdir(parents=True)
    call = [sys.executable, "-m", "snakemake", "--cores", "all", "submission.csv", "--config"]
    call += [f"dataset={competition / 'images.yaml'}", f"raw_dir={competition}"]
    call += [f"recipe={recipe}", f"seed={seed}", f"override={json.dumps(override)}"]
    call += ["--directory", str(directory)]
    start = time.perf_counter()
    done = subprocess.run(call, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(done.stdout.decode())
    return time.perf_counter() - start


def test_probabilities(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of the test images, and their probabilities, the mean over the members."""
    members = [read_predictions(path) for path in directory.glob("**/final/test_logits.npz")]
    ids = members[0].ids
    return ids, np.mean(
        [class_probabilities(member.logits, several_labels=False) for member in members], axis=0
    )


def main() -> None:
    folder = os.environ.get("IMAGEPIPE_REAL_DATA")
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, default=folder, required=folder is None)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--recipes", default="probe,finetune-small-images,fast,small")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    shared_weights = arguments.data / "tf_efficientnet_lite0.safetensors"
    weights = arguments.weights or (shared_weights if shared_weights.is_file() else None)
    competition = work / "competition"
    write_competition(arguments.data, competition)
    with zipfile.ZipFile(competition / "images.zip") as archive:
        labels = pd.read_csv(io.BytesIO(archive.read("testLabels.csv"))).set_index("id")["label"]
    classes = sorted(labels.unique())
    names = arguments.recipes.split(",")
    probabilities: dict[tuple[str, int], np.ndarray] = {}

    def accuracy(of: np.ndarray, ids: np.ndarray) -> float:
        answers = np.array(classes)[of.argmax(axis=1)]
        return float((answers == labels.loc[ids.astype(int)].to_numpy()).mean())

    for name in names:
        accuracies, times = [], []
        for seed in range(arguments.seeds):
            directory = work / f"{name}-{seed}"
            override = override_of(name, weights)
            times.append(submit(competition, directory, name, seed, override))
            ids, probabilities[name, seed] = test_probabilities(directory)
            accuracies.append(accuracy(probabilities[name, seed], ids))
            print(f"{name}, seed {seed}: {accuracies[-1]:.4f} in {times[-1]:.0f} s", flush=True)
        middle = statistics.median(accuracies)
        print(f"{name}: median {middle:.4f}, {statistics.median(times):.0f} s", flush=True)
    for size in range(2, len(names) + 1):
        for group in itertools.combinations(names, size):
            found = [
                accuracy(sum(probabilities[name, seed] for name in group), ids)  # type: ignore[arg-type]
                for seed in range(arguments.seeds)
            ]
            print(f"{' + '.join(group)}: median {statistics.median(found):.4f}")


if __name__ == "__main__":
    main()
