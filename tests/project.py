"""Runs the real Snakefile, from a copy of the project, as a user would."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import yaml

import forked_calls
from imagepipe.config.configuration import load_configuration
from imagepipe.evaluation.report import FIGURES

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("Snakefile", "config.yaml", "workflow", "profiles", "envs")
# The least that trains at all: for tests that are about the rules, not about the model.
QUICK = (
    "override={epochs: 1, batch_size: 10, min_steps_per_epoch: 1, freeze: [], "
    "model: {name: small_cnn, width: 2}}"
)


def run_of(override: str, recipe: str = "fast") -> str:
    """Return the name of the run of an override as it is written behind --config."""
    changes = yaml.safe_load(override.removeprefix("override="))
    settings = {"recipe": recipe, "override": changes}
    return load_configuration(settings, ROOT / "workflow").run_name


def trained(results: str, seed: int = 0) -> tuple[str, str, str]:
    """Return what the run with this folder of results makes without its figures and report.

    That is the submission beside the folder, the validated model and the final one.
    """
    models = (f"{results}/seed{seed}/{stage}/model.safetensors" for stage in ("train", "final"))
    return (str(Path(results).parent / "submission.csv"), *models)


@dataclass(frozen=True)
class Result:
    """What a call of snakemake came to: its exit code and everything that it printed."""

    code: int
    output: str

    @property
    def errors(self) -> list[str]:
        """The closing lines that begin with "error: "."""
        return [line for line in self.output.splitlines() if line.startswith("error: ")]

    @property
    def rules(self) -> set[str]:
        """The names of the rules in a dry run's table of jobs, or of those that have begun."""
        _, is_dry_run, table = self.output.rpartition("Job stats:")
        if not is_dry_run:
            begun = r"^\[(\w+)\] .* \(\d+ of \d+\)$"
            return set(re.findall(begun, self.output, flags=re.MULTILINE))
        names = set(re.findall(r"^(\w+) +\d+$", table.split("total")[0], flags=re.MULTILINE))
        return names - {"all"}


@dataclass(frozen=True)
class Project:
    """A copy of the workflow in `folder`, which may be changed, and the directory it works in."""

    folder: Path
    directory: Path

    @classmethod
    def copy_to(cls, parent: Path) -> "Project":
        """Copy what a run needs of the project into a new folder below `parent`."""
        folder = parent / "project"
        folder.mkdir(parents=True)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, folder / part)
        directory = parent / "work"
        directory.mkdir()
        return cls(folder, directory)

    def copy(self, directory: Path) -> "Project":
        """Return a project with the same code that works in a new copy of this one's directory."""
        shutil.copytree(self.directory, directory, symlinks=True)
        return Project(self.folder, directory)

    def command(
        self, *arguments: str, config: tuple[str, ...] = (), cores: str | None = "2"
    ) -> list[str]:
        call = [sys.executable, "-m", "snakemake", *arguments, "--directory", str(self.directory)]
        call += ["--cores", cores] if cores else []
        return [*call, "--config", *config] if config else call

    def run(self, *arguments: str, config: tuple[str, ...] = (), cores: str | None = "2") -> Result:
        """Call snakemake with some arguments, from the folder that holds the Snakefile."""
        _, _, _, *call = self.command(*arguments, config=config, cores=cores)
        return Result(*forked_calls.call(call, self.folder, environment()))

    def start(
        self,
        *arguments: str,
        config: tuple[str, ...] = (),
        output: "int | IO[bytes]" = subprocess.DEVNULL,
    ) -> "subprocess.Popen[bytes]":
        """Start snakemake in a process group of its own, so that all of it can be killed."""
        return subprocess.Popen(
            self.command(*arguments, config=config),
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def stale(self, *targets: str, config: tuple[str, ...] = ()) -> set[str]:
        """Return the names of the rules that would run."""
        result = self.run("--dry-run", *targets, config=config)
        assert result.code == 0, result.output
        return result.rules

    def read(self, path: str) -> bytes:
        return (self.directory / path).read_bytes()


def figure_files(project: Project) -> list[Path]:
    """Return the SVG files of all figures that a finished run has made."""
    return sorted(project.directory.glob("*/*/**/figures/*.svg"))


def check_snakemakes_report(project: Project, *, config: tuple[str, ...] = ()) -> None:
    """Build Snakemake's own report of a finished run: it shows all figures, tables and the page."""
    report = project.run("--report", "r.zip", config=config, cores=None)
    assert report.code == 0, report.output
    with zipfile.ZipFile(project.directory / "r.zip") as file:
        names = {Path(name).name for name in file.namelist()}
    figures = {path.name for path in figure_files(project)}
    assert figures == {f"{name}.svg" for name in FIGURES}
    assert figures | {"submission.csv", "runs.csv", "report.html"} <= names


def kill_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Send a signal to a whole process group, and wait for its leader to end."""
    os.killpg(process.pid, number)
    process.wait(timeout=120)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)


def write_program(path: Path, script: str) -> None:
    """Write a shell script that can be called as a command."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def text_since(log: Path, since: float) -> str | None:
    """Return the text of a log that has changed since then; None if it has not, or is not there.

    Snakemake removes a job's log when the job begins, and that may be at this moment.
    """
    try:
        return log.read_text() if log.stat().st_mtime > since else None
    except FileNotFoundError:
        return None


def environment() -> dict[str, str]:
    """Return this process's environment, less what could point a run at other files."""
    hidden = ("SNAKEMAKE_PROFILE", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    # The tests' own server is on this machine, whatever proxy there is for others.
    return kept | {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
