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
    """Return the places of all trainings below a folder, in the order of their paths.

    folder: a working directory, its results folder, or a folder below that. A folder that cannot
    be read has none.
    """
    top, inside = working_directory(folder)
    found = []
    for results in _folders(top / RESULTS, "*/*/seed*/*"):
        *_, dataset, run, seed_folder, training = results.parts
        seed = _SEED.fullmatch(seed_folder)
        is_inside = (dataset, run, seed_folder, training)[: len(inside)] == inside
        if seed and training in LOGS and is_inside:
            log = top / "logs" / dataset / run / seed_folder / LOGS[training]
            checkpoint = results.parent / ".checkpoint" / training / "checkpoint.pt"
            found.append(Place(dataset, run, int(seed[1]), training, results, log, checkpoint))
    return found


def working_directory(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the working directory of a folder, and the folder's path below `results`."""
    folder = folder.absolute()
    if not (folder / RESULTS).is_dir():
        for above in (folder, *folder.parents):
            if above.name == RESULTS:
                return above.parent, folder.relative_to(above).parts
    return folder, ()


def _folders(top: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in top.glob(pattern) if path.is_dir())
    except OSError:
        return []
