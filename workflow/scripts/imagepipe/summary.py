"""The last words of a run: what was made, how good it is, and where it lies."""

import json
from pathlib import Path


def summary(title: str, recipe: str, results: Path, run_folders: list[Path], top: Path) -> str:
    """Return a few lines about the results that there are so far.

    `run_folders` are those of the seeds, the first of which was validated; `top` is the submission
    at the top of the working directory. What is older than that from which it should have been made
    belongs to an earlier run, and is not mentioned.
    """
    metrics = run_folders[0] / "train" / "metrics.json"
    score = results / "score.json"
    model = run_folders[0] / "final" / "model.safetensors"
    made = in_order([metrics, results / "runs.csv", model, score, top])
    several = len(run_folders) > 1
    lines = [f"{title}, recipe {recipe}"]
    if metrics in made:
        validated = json.loads(metrics.read_text(encoding="utf-8"))
        lines.append(
            f"  valid accuracy  {validated['valid_accuracy']:.4f}  "
            f"{'of one member ' if several else ''}after {validated['epochs']} "
            f"epochs in {_duration(validated['seconds'])} "
            f"({validated['examples_per_second']:,.0f} examples/sec, {validated['device']}, "
            f"{validated['precision']})"
        )
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
        f"  {name:<14}  {path}{beside if path == model else ''}"
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


def last_words(logs: list[Path], since: float) -> list[str]:
    """Return the closing line of each job that failed or was stopped after a point in time.

    `since` is in seconds of the clock. A log that does not end in such a line gives none.
    """
    words: list[str] = []
    for log in sorted(logs):
        if log.stat().st_mtime >= since:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            if lines and lines[-1].startswith(("error: ", "stopped by ")):
                words.append(lines[-1])
    return words


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
