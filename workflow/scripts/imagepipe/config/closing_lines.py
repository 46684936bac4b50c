"""The closing line of a job's log: why the job failed, or where it was stopped."""

from collections.abc import Iterable
from pathlib import Path

# If this environment variable is set, a job does not print its closing line: the process that runs
# all jobs prints it as the very last line.
LEFT_TO_PARENT = "IMAGEPIPE_CLOSING_LINES_LEFT_TO_PARENT"

STOPPED = "stopped by "
BEGINNINGS = ("error: ", STOPPED)
# A job writes this line, and then a traceback, in place of a closing line.
BUG = "this is a bug in the workflow; please report it:"


def closing_line(log: Path) -> str | None:
    """Return the last line of a log if the job failed or was stopped, else None."""
    if not log.is_file():
        return None
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines and lines[-1].startswith(BEGINNINGS) else None


def closing_lines(logs: Iterable[Path], since: float = 0) -> list[str]:
    """Return the closing lines of the logs written since `since` (seconds, Unix time)."""
    recent = (log for log in sorted(logs) if log.is_file() and log.stat().st_mtime >= since)
    return [line for log in recent if (line := closing_line(log)) is not None]
