"""Where the trainings of a working directory have their files."""

import re
from dataclasses import dataclass
from pathlib import Path

RESULTS = "results"
# A training's folder, and the name of its log.
LOGS = {"train": "train.log", "final": "retrain.log"}
_SEED = re.compile("seed([0-9]{1,18})")


@dataclass(frozen=True)
class Place:
    """Where a training's files lie. `training` is its folder: "train" (validated) or "final"."""

    dataset: str
    run: str
    seed: int
    training: str
    results: Path
    log: Path
    checkpoint: Path


def find_places(folder: Path) -> list[Place]:
    """Return the places of all trainings below a folder, in the order of their names.

    folder: a working directory, its results folder, or a folder below that. A training has a
    folder of results or, if Snakemake has removed it because the job failed, a log. A folder that
    cannot be read has none.
    """
    top, inside = working_directory(folder)
    names = {path.parts[-4:] for path in _found(top / RESULTS, "*/*/seed*/*")}
    training_of = {log: training for training, log in LOGS.items()}
    for path in _found(top / "logs", "*/*/seed*/*.log"):
        *above, log = path.parts[-4:]
        names.add((*above, training_of.get(log, "")))
    found = []
    for dataset, run, seed_folder, training in sorted(names):
        seed = _SEED.fullmatch(seed_folder)
        is_inside = (dataset, run, seed_folder, training)[: len(inside)] == inside
        if seed and training in LOGS and is_inside:
            seed_results = top / RESULTS / dataset / run / seed_folder
            found.append(
                Place(
                    *(dataset, run, int(seed[1]), training),
                    results=seed_results / training,
                    log=top / "logs" / dataset / run / seed_folder / LOGS[training],
                    checkpoint=seed_results / ".checkpoint" / training / "checkpoint.pt",
                )
            )
    return found


def working_directory(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the working directory of a folder, and the folder's path below `results`."""
    folder = folder.absolute()
    if not is_folder(folder / RESULTS):
        for above in (folder, *folder.parents):
            if above.name == RESULTS:
                return above.parent, folder.relative_to(above).parts
    return folder, ()


def is_folder(path: Path) -> bool:
    """Return whether there is a folder; one that cannot be looked at counts as missing."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _found(top: Path, pattern: str) -> list[Path]:
    try:
        return list(top.glob(pattern))
    except OSError:
        return []
