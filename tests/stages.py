"""Runs the scripts of the rules in this process, each with what the real Snakefile gives it.

A call of snakemake takes seconds, and a script that is called here takes milliseconds.
"""

import contextlib
import io
import json
import logging
import pickle
import runpy
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from builders import SCRIPTS
from job import run
from project import Project

RULES = ("fetch", "extract", "tables", "labels", "form", "split", "reorganise", "pack")
# What snakemake is to find of the dataset cifar10, before it asks any rule for more.
RAW_FILES = ("train.7z", "test.7z", "trainLabels.csv", "sampleSubmission.csv")
# Stands for job.py: notes what the rule gives its script, and does none of its work.
RECORDER = """
import pickle
from pathlib import Path

def run(main, snakemake):
    folders = {*snakemake.output.get("images", []), *snakemake.output.get("trees", [])}
    for output in snakemake.output:
        Path(output).mkdir() if output in folders else Path(output).touch()
    script = Path(main.__globals__["__file__"]).name
    Path(f"{snakemake.rule}.pickle").write_bytes(pickle.dumps((script, snakemake)))
"""


@dataclass(frozen=True)
class Job:
    """A rule's script, and the object `snakemake` that the real Snakefile gives it."""

    rule: str
    script: str
    pickled: bytes

    @property
    def snakemake(self) -> Any:
        """A new copy, with paths that are relative to the working directory."""
        return pickle.loads(self.pickled)


@dataclass(frozen=True)
class Outcome:
    """What became of some jobs: which one failed, its exit code, and what it said.

    `left_over` are the files in the folder data that are no outputs of jobs that have succeeded.
    """

    failed: str | None
    code: int
    log: str
    terminal: str
    left_over: list[str]


def recorded_jobs(parent: Path, layout: str) -> list[Job]:
    """Return the jobs that prepare the dataset cifar10, whose files are in the folder kaggle."""
    project = Project.copy_to(parent)
    (project.folder / "workflow/scripts/job.py").write_text(RECORDER)
    raw = project.directory / "kaggle"
    raw.mkdir()
    for name in RAW_FILES:
        (raw / name).touch()
    config = ("dataset=cifar10", "raw_dir=kaggle", f"layout={layout}")
    last = "reorganise" if layout == "folders" else "split"
    result = project.run("form", "pack", last, config=config)
    assert result.code == 0, result.output
    jobs: list[Job] = []
    for rule in RULES:
        recorded = project.directory / f"{rule}.pickle"
        if recorded.is_file():
            script, snakemake = pickle.loads(recorded.read_bytes())
            jobs.append(Job(rule, script, pickle.dumps(snakemake)))
    return jobs


def run_jobs(
    jobs: Sequence[Job],
    directory: Path,
    kind: str = "7z",
    change: Callable[[Any], Any] = lambda options: options,
) -> Outcome:
    """Run jobs one after the other in a directory, as snakemake does, until one fails.

    The archives may be of another `kind` than in the recorded jobs, and `change` may give other
    options to each job than it has there.
    """
    outputs: list[str] = []
    with contextlib.chdir(directory):
        for job in jobs:
            options = json.loads(job.snakemake.params.options.replace(".7z", f".{kind}"))
            code, terminal = run_job(job, change(options))
            if code:
                break
            outputs += (output.replace(".7z", f".{kind}") for output in job.snakemake.output)
        log = Path(job.snakemake.log[0]).read_text(encoding="utf-8")
        files = [str(path) for path in Path("data").rglob("*") if not path.is_dir()]
    left_over = [file for file in files if not is_part_of(file, outputs)]
    return Outcome(job.rule if code else None, code, log, terminal, left_over)


def run_job(job: Job, options: Any) -> tuple[int, str]:
    """Run a job, and return its exit code and what it writes to the terminal.

    Its outputs are removed before, and if it fails.
    """
    # What a script takes from the object `snakemake`, which cannot be changed itself.
    taken = ("rule", "input", "output", "threads", "log")
    snakemake = SimpleNamespace(**{name: getattr(job.snakemake, name) for name in taken})
    snakemake.params = SimpleNamespace(options=json.dumps(options))
    outputs = [Path(output) for output in snakemake.output]
    remove(outputs)
    for output in outputs:
        output.parent.mkdir(parents=True, exist_ok=True)
    code = 0
    terminal = io.StringIO()
    with contextlib.redirect_stderr(terminal), no_logging_yet():
        try:
            run(runpy.run_path(str(SCRIPTS / job.script))["main"], snakemake)
        except SystemExit as ended:
            assert isinstance(ended.code, int)
            code = ended.code
    if code:
        remove(outputs)
    return code, terminal.getvalue()


def is_part_of(file: str, outputs: Sequence[str]) -> bool:
    """Say whether a file is one of some outputs, or in one that is a folder."""
    return any(file == output or file.startswith(f"{output}/") for output in outputs)


@contextlib.contextmanager
def no_logging_yet() -> Iterator[None]:
    """Take away the handlers of log lines, as in a new process, and put them back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        yield
    finally:
        for handler in root.handlers:
            with contextlib.suppress(OSError):  # as at the end of a process
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
        logging.raiseExceptions = True


def remove(paths: Sequence[Path]) -> None:
    """Remove files and folders, as far as they are there."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
