"""How a result came about: the time of the stages, the code, the versions, the command."""

import csv
import importlib.metadata
import platform
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from imagepipe.config.options import read_text
from imagepipe.config.settings import Settings
from imagepipe.config.weights import PRETRAINED, shown_url

ENDING = ".benchmark.tsv"
PACKAGES = (
    "imagepipe",
    "matplotlib",
    "numpy",
    "pandas",
    "pillow",
    "safetensors",
    "scikit-learn",
    "scipy",
    "snakemake",
    "timm",
    "torch",
    "torchvision",
)
# Settings without effect on results.
NOT_IN_COMMAND = (
    *("device", "checkpoint_minutes", "prediction_batch_size", "link_mode", "tensorboard"),
)


@dataclass(frozen=True)
class StageCost:
    """A stage's time, and its most memory at once, which is None if it was not measured."""

    stage: str
    seconds: float
    megabytes: float | None


@dataclass(frozen=True)
class Provenance:
    """Where results come from. `commit` is None outside a git repository."""

    costs: Sequence[StageCost]
    versions: Mapping[str, str]
    commit: str | None


def read_costs(logs: Path, run: str, seeds: Sequence[int]) -> list[StageCost]:
    """Return the costs of a run's stages, in the order in which they ended.

    `logs` is the dataset's folder of logs. Stages of other runs are left out, and so is a file
    that cannot be read. With several seeds, a stage of one is named after it, too.
    """
    files = [(path, "") for path in logs.glob(f"*{ENDING}")]
    files += [(path, "") for path in (logs / run).glob(f"*{ENDING}")]
    for seed in seeds:
        suffix = f", seed {seed}" if len(seeds) > 1 else ""
        files += [
            (path, suffix)
            for path in (logs / run / f"seed{seed}").glob(f"*{ENDING}")
            # Only the first seed is validated; an earlier call may have validated another.
            if seed == seeds[0] or path.name != f"train{ENDING}"
        ]
    files.sort(key=lambda file: (file[0].stat().st_mtime_ns, file[0].name))
    costs = []
    for path, suffix in files:
        with path.open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file, delimiter="\t"), {})
        seconds = _number(row.get("s"))
        if seconds is not None:
            stage = path.name.removesuffix(ENDING) + suffix
            # A job that was too short to measure has a memory of 0.
            costs.append(StageCost(stage, seconds, _number(row.get("max_rss")) or None))
    return costs


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of `PACKAGES`, without those that are not installed."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def code_commit(file: Path) -> str | None:
    """Return the commit of the repository that tracks a file; " with changes" if it has some.

    Returns None if git is missing, or tracks no such file, as in an unpacked copy.
    """
    try:
        _git(file.parent, "ls-files", "--error-unmatch", file.name)
        commit = _git(file.parent, "rev-parse", "HEAD").strip()
        changed = _git(file.parent, "status", "--porcelain", "--untracked-files=no").strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}{', with changes' if changed else ''}"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout


def command(settings: Mapping[str, object]) -> str:
    """Return the command that repeats a call with these values of config.yaml.

    The paths of the user's files are left out (see `without_paths`).
    """
    shown = without_paths(settings)
    parts = ["snakemake --cores all submission.csv --config"]
    for key, field in Settings.model_fields.items():
        value = shown.get(key, field.default)
        if key in ("dataset", "recipe") or (value != field.default and key not in NOT_IN_COMMAND):
            flow = yaml.safe_dump(
                value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False
            )
            # YAML ends a bare value by a line "...".
            text = " ".join(flow.removesuffix("...\n").split())
            parts.append(shlex.quote(f"{key}={text}"))
    return " ".join(parts)


def without_paths(options: Mapping[str, object]) -> dict[str, object]:
    """Return options without the paths of the user's files, and passwords in addresses of weights.

    Reports and model cards may be sent to others. options: a configuration or a recipe.
    """
    shown: dict[str, object] = {}
    for key, value in options.items():
        inner = value
        if isinstance(value, str) and "weights" in value:
            # A section may be given as text.
            inner = read_text(value, {dict})
        if key == "raw_dir" and value is not None:
            shown[key] = "FOLDER"
        elif key == "weights" and isinstance(value, str) and value != PRETRAINED:
            shown[key] = "FILE"
        elif key == "weights" and isinstance(inner, Mapping) and isinstance(inner.get("url"), str):
            shown[key] = {**inner, "url": shown_url(inner["url"])}
        else:
            shown[key] = without_paths(inner) if isinstance(inner, Mapping) else value
    return shown
