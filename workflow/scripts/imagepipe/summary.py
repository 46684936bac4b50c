"""The last words of a run: what was made, how good it is, and where it lies."""

import json
from pathlib import Path
from typing import Any


def summary(title: str, recipe: str, results: Path, run_folders: list[Path], top: Path) -> str:
    """Return a few lines about the results that there are so far.

    `run_folders` are those of the seeds, the first of which was validated.
    """
    lines = [f"{title}, recipe {recipe}"]
    validated = _read(run_folders[0] / "train" / "metrics.json")
    if validated:
        lines.append(
            f"  valid accuracy  {validated['valid_accuracy']:.4f}  after {validated['epochs']} "
            f"epochs in {_duration(validated['seconds'])} "
            f"({validated['examples_per_second']:,.0f} examples/sec, {validated['device']}, "
            f"{validated['precision']})"
        )
    score = _read(results / "score.json")
    if score:
        lines.append(f"  test accuracy   {score['accuracy']:.4f}  on {score['n']:,} images")
    places = {
        "submission": top,
        "final model": run_folders[0] / "final" / "model.safetensors",
        "all runs": results / "runs.csv",
        "score": results / "score.json",
    }
    lines += [f"  {name:<14}  {path}" for name, path in places.items() if path.is_file()]
    return "\n".join(lines)


def last_errors(logs: list[Path], since: float) -> list[str]:
    """Return the closing error line of each job's log that was written after a point in time.

    `since` is in seconds of the clock. A log that does not end in such a line gives none.
    """
    errors: list[str] = []
    for log in sorted(logs):
        if log.stat().st_mtime >= since:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            if lines and lines[-1].startswith("error: "):
                errors.append(lines[-1])
    return errors


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
