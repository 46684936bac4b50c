"""The table of a dataset's runs: the settings that differ between them, and their results."""

from collections.abc import Sequence
from pathlib import Path

from imagepipe.files import write_rows
from imagepipe.selection.run_results import ACCURACY, RESULTS, RunResult

IDENTITY = ("run", "seed")


def write_run_table(runs: Sequence[RunResult], target: Path) -> None:
    """Write a row for each run, in their order.

    The columns are run and seed, the settings that are not the same in all runs, by their dotted
    keys, the metric if it is not accuracy, and `RESULTS`. The standard error is that of the
    accuracy.
    """
    results = dict.fromkeys((*(run.metric for run in runs if run.metric != ACCURACY), *RESULTS))
    rows = [run.row for run in runs]
    settings = dict.fromkeys(key for row in rows for key in row)
    differing = [
        key
        for key in settings
        if key not in (*IDENTITY, *results) and len({row.get(key, "") for row in rows}) > 1
    ]
    columns = [*IDENTITY, *differing, *results]
    write_rows(target, columns, ([row.get(key, "") for key in columns] for row in rows))
