"""The summary at the end of a call: results and their paths."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagepipe.config.metric_names import metric_words
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
    """Return a few lines about the results so far.

    `run_folders` has a folder per seed; only the first seed was validated. All runs of a dataset
    share the submission `top`, at the top of the working directory, the score and the report; they
    are this run's if `is_published`. A file older than its inputs belongs to an earlier call and is
    left out. Paths are relative to the folder `called_from`. `seconds` is the duration of the call,
    or None if it had nothing to do.

    The last line says what to open. The table of runs, which is part of the report, is named only
    if there is no report.
    """
    metrics = run_folders[0] / "train" / "metrics.json"
    table, score, report = (results / name for name in ("runs.csv", "score.json", "report.html"))
    model = run_folders[0] / "final" / "model.safetensors"
    # The validation and the submission do not depend on each other.
    submission = [model, score, top] if is_published else [model]
    made = in_order([metrics, table]) + in_order(submission)
    # What the report tells of comes before it.
    told = [in_order([*files, report]) for files in ([metrics], [model, score])]
    has_report = all(report in files for files in told) and (
        is_published or (seconds is not None and _age(report) <= seconds)
    )
    took = "" if seconds is None else f", in {duration(seconds)}"
    lines = [f"{title}, recipe {recipe}{took}"]
    if metrics in made:
        validated = json.loads(metrics.read_text(encoding="utf-8"))
        lines.append(_validation(validated, several=len(run_folders) > 1))
    if score in made:
        scored = json.loads(score.read_text(encoding="utf-8"))
        lines.append(_test(scored))
    paths = {"submission": top, "final model": model}
    if not has_report:
        paths["all runs"] = table
    others = sum((run / "final" / model.name).is_file() for run in run_folders[1:])
    beside = f", and {others} more beside {run_folders[0].name}" if others else ""
    lines += [
        f"  {name:<14}  {openable(path, called_from)}{beside if path == model else ''}"
        for name, path in paths.items()
        if path in made
    ]
    if has_report:
        lines.append(f"open {openable(report, called_from)}")
    return "\n".join(lines)


def in_order(paths: list[Path]) -> list[Path]:
    """Return the existing files, up to the first that is older than its predecessor."""
    found: list[Path] = []
    newest = 0
    for path in filter(Path.is_file, paths):
        changed = path.stat().st_mtime_ns
        if changed < newest:
            break
        newest = changed
        found.append(path)
    return found


def _age(path: Path) -> float:
    """Return how many seconds ago a file was written."""
    return time.time() - path.stat().st_mtime


def openable(path: Path, called_from: Path) -> str:
    """Return a path relative to a folder, or absolute if it leads up two or more folders."""
    relative = os.path.relpath(path, called_from)
    is_far = relative.startswith(f"..{os.sep}..")
    return str(path.absolute()) if is_far else relative


def _validation(metrics: Mapping[str, Any], several: bool) -> str:
    # Missing in the results of an earlier version.
    accuracy, images = metrics["valid_accuracy"], metrics.get("valid_images")
    shown = f"{accuracy:.4f}"
    if images:
        shown += f" ± {standard_error(accuracy, images):.4f} on {images:,} images"
    parts = _own_metric("valid", metrics, shown)
    if several:
        parts.append("of one member")
    plural = "" if metrics["epochs"] == 1 else "s"
    parts.append(
        f"after {metrics['epochs']} epoch{plural} in {duration(metrics['seconds'])} "
        f"({metrics['examples_per_second']:,.0f} examples/sec, {metrics['device']}, "
        f"{metrics['precision']})"
    )
    return ", ".join(parts)


def _test(score: Mapping[str, Any]) -> str:
    accuracy = score.get("accuracy")
    shown = "" if accuracy is None else f"{accuracy:.4f}"
    return f"{', '.join(_own_metric('test', score, shown))}  on {score['n']:,} images"


def _own_metric(images: str, values: Mapping[str, Any], accuracy: str) -> list[str]:
    """Return the start of a line: the competition's metric, and the accuracy if it is another."""
    name = values.get("metric", "accuracy")
    if name == "accuracy":
        return [f"  {f'{images} accuracy':<14}  {accuracy}"]
    value = values.get(name)
    shown = "not defined" if value is None else f"{value:.4f}"
    first = f"  {f'{images} {metric_words(name)}':<14}  {shown}"
    return [first, f"accuracy {accuracy}"] if accuracy else [first]


def duration(seconds: float) -> str:
    """Return a duration as text, such as "2 min 5 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
