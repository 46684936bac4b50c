"""The last words of a run: what was made, how good it is, and where it lies."""

import json
import os
from pathlib import Path
from typing import Any

from imagepipe.config.runs import standard_error


def summary(
    title: str,
    recipe: str,
    results: Path,
    run_folders: list[Path],
    top: Path,
    called_from: Path,
    seconds: float | None = None,
    *,
    is_published: bool = True,
) -> str:
    """Return a few lines about the results that there are so far.

    `run_folders` are those of the seeds, the first of which was validated; `top` is the submission
    at the top of the working directory, which is of this run if it `is_published`: all runs of a
    dataset share that place, and the score's. What is older than that from which it should have
    been made belongs to an earlier call, and is not mentioned. Paths are told as from the folder
    `called_from`. `seconds` is how long the call took, if it has made anything.
    """
    metrics = run_folders[0] / "train" / "metrics.json"
    score = results / "score.json"
    model = run_folders[0] / "final" / "model.safetensors"
    # Two ways that do not wait for each other: the validation, and the submission.
    submission = [model, score, top] if is_published else [model]
    made = in_order([metrics, results / "runs.csv"]) + in_order(submission)
    took = "" if seconds is None else f", in {duration(seconds)}"
    lines = [f"{title}, recipe {recipe}{took}"]
    if metrics in made:
        validated = json.loads(metrics.read_text(encoding="utf-8"))
        lines.append(f"  valid accuracy  {_validation(validated, several=len(run_folders) > 1)}")
    if score in made:
        scored = json.loads(score.read_text(encoding="utf-8"))
        lines.append(f"  test accuracy   {scored['accuracy']:.4f}  on {scored['n']:,} images")
    places = {
        "submission": top,
        "final model": model,
        "all runs": results / "runs.csv",
        "score": score,
    }
    others = sum((run / "final" / model.name).is_file() for run in run_folders[1:])
    beside = f", and {others} more beside {run_folders[0].name}" if others else ""
    lines += [
        f"  {name:<14}  {openable(path, called_from)}{beside if path == model else ''}"
        for name, path in places.items()
        if path in made
    ]
    return "\n".join(lines)


def in_order(paths: list[Path]) -> list[Path]:
    """Return the files that are there, up to the first that is older than one before it."""
    found: list[Path] = []
    newest = 0
    for path in filter(Path.is_file, paths):
        changed = path.stat().st_mtime_ns
        if changed < newest:
            break
        newest = changed
        found.append(path)
    return found


def openable(path: Path, called_from: Path) -> str:
    """Return a path by which it can be opened from another folder: as short as is readable."""
    relative = os.path.relpath(path, called_from)
    far = os.path.join("..", "..")  # noqa: PTH118 - a beginning, not a path
    return str(path.absolute()) if relative.startswith(far) else relative


def _validation(metrics: dict[str, Any], several: bool) -> str:
    # Results of an earlier version of this code do not say on how many.
    accuracy, images = metrics["valid_accuracy"], metrics.get("valid_images")
    parts = [f"{accuracy:.4f}"]
    if images:
        error = standard_error(accuracy, images)
        parts = [f"{accuracy:.4f} ± {error:.4f} on {images:,} images"]
    if several:
        parts.append("of one member")
    parts.append(
        f"after {metrics['epochs']} epochs in {duration(metrics['seconds'])} "
        f"({metrics['examples_per_second']:,.0f} examples/sec, {metrics['device']}, "
        f"{metrics['precision']})"
    )
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return a length of time in units that suit it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
