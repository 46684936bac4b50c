"""One training by several processes, on one node or on several, started by PyTorch's launcher.

The job that Snakemake runs starts `launcher_process` once on every node, which starts the node's
`training_process`es; a file tells them what to do, and another one, of each that fails, why.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from imagepipe.errors import Stopped, UserError
from imagepipe.files import write_text
from imagepipe.interruption import stop_requests
from imagepipe.training.runs import Inputs, Machine, Outputs, Run, train_run

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.1
LAST_LINES = 20


@dataclass(frozen=True)
class Failure:
    """Why a process of a training has ended.

    kind: "user", "stopped", "lost" (another process does not answer), "ended" (from outside) or
    "mistake" (ours). `signal` is the number of the one that asked to stop.
    """

    rank: int
    kind: str
    message: str
    signal: int = 0

    def write(self, folder: Path) -> None:
        write_text(folder / f"failure{self.rank}.{self.kind}.json", json.dumps(asdict(self)))


def run_training(run: Run) -> None:
    """Train one model, in this process or in as many as `run.machine` says (see `train_run`).

    Several processes need `run.checkpoint_folder` to be on a file system that all nodes share;
    several nodes need to be those of a Slurm job. Raises what `train_run` raises, and `UserError`
    if a process is ended from outside.
    """
    machine = run.machine
    if machine.nodes * machine.processes_per_node == 1:
        train_run(run)
        return
    folder = run.checkpoint_folder / "processes"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_text(folder / "run.json", json.dumps(asdict(run), default=str))
    command = [sys.executable, "-m", "imagepipe.launch.launcher_process", str(folder)]
    try:
        run_command(_on_nodes(machine) + command, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if run.checkpoint_folder.is_dir() and not any(run.checkpoint_folder.iterdir()):
            run.checkpoint_folder.rmdir()


def read_run(folder: Path) -> Run:
    """Return the run that `run_training` has left for the processes."""
    content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return Run(
        content["name"],
        Inputs(**_as_paths(content["inputs"])),
        Outputs(**_as_paths(content["outputs"])),
        content["options"],
        content["code"],
        Path(content["checkpoint_folder"]),
        Machine(**content["machine"]),
    )


def _as_paths(texts: dict[str, str | None]) -> dict[str, Any]:
    return {name: None if text is None else Path(text) for name, text in texts.items()}


def _on_nodes(machine: Machine) -> list[str]:
    """Return what goes before a command so that it runs once on every node of the job."""
    nodes = machine.nodes
    if nodes == 1:
        return []
    if "SLURM_JOB_ID" not in os.environ:
        raise UserError(
            f"nodes_per_run: is {nodes}, but this is no Slurm job; set nodes_per_run=1, or "
            "--workflow-profile to that of a Slurm cluster"
        )
    counts = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    # Snakemake's executor removes from the environment what the job was given.
    counts.append(f"--cpus-per-task={machine.threads}")
    return ["srun", "--kill-on-bad-exit=1", *counts]


def run_command(command: list[str], folder: Path) -> None:
    """Run a command to its end, its lines going to the log; raise what became of it.

    The first signal that asks to stop is passed on to it; a second one kills it.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    errors: list[str] = []
    with stop_requests() as stop:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # A signal reaches it once, by us, and not by the terminal, too.
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        readers = [
            threading.Thread(target=_log_lines, args=(process.stdout,), daemon=True),
            threading.Thread(target=_keep_last_lines, args=(process.stderr, errors), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            while process.poll() is None and stop.signal is None:
                time.sleep(SECONDS_BETWEEN_LOOKS)
            if stop.signal is not None:
                process.send_signal(stop.signal)
            process.wait()
        finally:
            process.kill()
        for reader in readers:
            reader.join()
    if process.returncode != 0:
        raise explanation(read_failures(folder), stop.signal, "\n".join(errors))


def _log_lines(stream: IO[str]) -> None:
    for line in stream:
        logger.info(line.rstrip("\n"))


def _keep_last_lines(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line.rstrip("\n"))
        del lines[:-LAST_LINES]


def read_failures(folder: Path) -> list[Failure]:
    """Return what the processes have left, by their numbers."""
    contents = (json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("failure*"))
    return sorted((Failure(**content) for content in contents), key=lambda failure: failure.rank)


def explanation(
    failures: list[Failure], asked: signal.Signals | None, errors: str
) -> UserError | Stopped | RuntimeError:
    """Return the exception that says best why the processes have ended.

    `asked` is the signal that was passed on to them, `errors` the last lines that they wrote to
    standard error.
    """
    first = {failure.kind: failure for failure in reversed(failures)}
    if "user" in first:
        return UserError(first["user"].message)
    if asked is not None and "stopped" not in first:
        # Before the training had begun, or when it was already ending.
        return Stopped(f"stopped by {asked.name}; the same command carries on", asked)
    if asked is None and "ended" in first:
        return UserError(first["ended"].message)
    if "stopped" in first:
        return Stopped(first["stopped"].message, first["stopped"].signal)
    if "mistake" in first:
        return RuntimeError(f"process {first['mistake'].rank}: {first['mistake'].message}")
    if "lost" in first:
        return UserError(
            "the processes of the training have lost each other, as when a node goes down; the "
            "same command carries on from the last checkpoint"
        )
    return RuntimeError(f"the processes did not start: {errors}")


def ended(rank: int, count: int, exit_code: int) -> Failure:
    """Return what to say of a process that has ended without a word of its own."""
    how = f"with exit code {exit_code}"
    if exit_code < 0:
        how = f"by {signal.Signals(-exit_code).name}"
    return Failure(
        rank,
        "ended",
        f"process {rank} of {count} was ended {how}, as when the memory is full; the same command "
        "carries on from the last checkpoint",
    )
