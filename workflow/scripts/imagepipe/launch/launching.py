"""One training in several processes, on one node or several, started by PyTorch's torchrun.

torchrun starts `training_process` as often as asked for. A file tells the processes what to do, and
each one that fails leaves a file that says why.
"""

import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter

from imagepipe.errors import Stopped, UserError
from imagepipe.interruption import STOP_SIGNALS, die_with_parent, stop_requests
from imagepipe.training.runs import Machine, Run, train_run

logger = logging.getLogger(__name__)

RUN_FILE = TypeAdapter(Run)
SECONDS_BETWEEN_POLLS = 0.1
SECONDS_TO_SAVE = 60
LAST_CHARACTERS = 5_000
# torchrun's report of a process that was ended by a signal.
KILLED = re.compile(r"rank +: (\d+) .*\n +exitcode +: -(\d+) ")


@dataclass(frozen=True)
class WorkerFailure:
    """Why a process has ended; `signal` is the number of the one that asked it to stop.

    kind: "user", "stopped", "lost" (another process does not answer) or "mistake" (ours).
    """

    kind: str
    message: str
    signal: int = 0


def run_training(run: Run) -> None:
    """Train one model in as many processes as `run.machine` says (see `train_run`).

    Several processes need `run.checkpoint_folder` on a file system that all nodes share; several
    nodes need a Slurm job. Raises what `train_run` raises, and `UserError` if a process is killed.
    """
    machine = run.machine
    if machine.num_processes == 1:
        train_run(run)
        return
    folder = run.checkpoint_folder / "processes"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    errors = folder / "errors"
    try:
        (folder / "run.json").write_bytes(RUN_FILE.dump_json(run))
        code, stopped_by = run_command(torchrun_command(machine, folder), errors)
        if code:
            contents = [json.loads(path.read_bytes()) for path in sorted(folder.glob("failure*"))]
            failures = [WorkerFailure(**content) for content in contents]
            report = errors.read_text(errors="replace")
            raise cause(failures, stopped_by, report, machine.num_processes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            run.checkpoint_folder.rmdir()  # only if it is empty


def torchrun_command(machine: Machine, folder: Path) -> list[str]:
    """Return the command that starts `training_process` on all nodes."""
    srun, rendezvous = [], ["--standalone"]
    if machine.nodes > 1:
        srun = srun_command(machine)
        # Slurm runs the job on the first of its nodes, which is then the host.
        with socket.create_server(("", 0)) as server:
            endpoint = f"{socket.gethostname()}:{server.getsockname()[1]}"
        rendezvous = ["--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}", "--rdzv-id=imagepipe"]
    return [
        *(*srun, sys.executable, "-m", "torch.distributed.run", *rendezvous),
        f"--nnodes={machine.nodes}",
        f"--nproc-per-node={machine.processes_per_node}",
        f"--signals-to-handle={','.join(number.name for number in STOP_SIGNALS)}",
        f"--shutdown-timeout={SECONDS_TO_SAVE}",
        f"--log-dir={folder}",
        *("-m", "imagepipe.launch.training_process", str(folder)),
    ]


def srun_command(machine: Machine) -> list[str]:
    """Return what precedes a command that is to run once on each node of the job."""
    if "SLURM_JOB_ID" not in os.environ:
        raise UserError(
            f"resources: nodes is {machine.nodes}, but this is no Slurm job; set --set-resources "
            "train:nodes=1 retrain:nodes=1, or --workflow-profile to that of a Slurm cluster"
        )
    counts = [f"--nodes={machine.nodes}", f"--ntasks={machine.nodes}", "--ntasks-per-node=1"]
    # Snakemake's executor removes the job's number of CPUs from the environment.
    return ["srun", "--kill-on-bad-exit=1", *counts, f"--cpus-per-task={machine.threads}"]


def run_command(command: list[str], errors: Path) -> tuple[int, signal.Signals | None]:
    """Run a command to its end; its output goes to the log, its standard error to a file.

    Returns the exit code, and the signal that asked to stop, if one has come: the first one is
    passed on to the command, a second one kills it.
    """
    with stop_requests() as stop, errors.open("wb") as errors_stream:
        process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=subprocess.PIPE,
            stderr=errors_stream,
            text=True,
            errors="replace",
            # Signals are to reach it once, from us, and not from the terminal as well.
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        reader = threading.Thread(target=_log_lines, args=(process.stdout,), daemon=True)
        reader.start()
        try:
            while process.poll() is None and stop.signal is None:
                time.sleep(SECONDS_BETWEEN_POLLS)
            if stop.signal is not None:
                process.send_signal(stop.signal)
            process.wait()
        finally:
            process.kill()
        reader.join()
    return process.returncode, stop.signal


def _log_lines(stream: IO[str]) -> None:
    for line in stream:
        logger.info(line.rstrip("\n"))


def cause(
    failures: Sequence[WorkerFailure],
    stopped_by: signal.Signals | None,
    report: str,
    num_processes: int,
) -> UserError | Stopped | RuntimeError:
    """Return the exception that says why the processes have ended, not what followed from that.

    `stopped_by` is the signal that was passed on to them, `report` what torchrun wrote.
    """
    first = {failure.kind: failure for failure in reversed(failures)}
    killed = KILLED.search(report)
    if "user" in first:
        return UserError(first["user"].message)
    if stopped_by is not None and "stopped" not in first:
        # Before the training had begun, or when it was ending.
        return Stopped(f"stopped by {stopped_by.name}; the same command carries on", stopped_by)
    if stopped_by is None and killed:
        name = signal.Signals(int(killed[2])).name
        return UserError(
            f"process {killed[1]} of {num_processes} was ended by {name}, as when the memory is "
            "full; the same command carries on from the last checkpoint"
        )
    if "stopped" in first:
        return Stopped(first["stopped"].message, first["stopped"].signal)
    if "mistake" in first:
        return RuntimeError(first["mistake"].message)
    if "lost" in first:
        return UserError(
            "the processes of the training have lost each other, as when a node goes down; the "
            "same command carries on from the last checkpoint"
        )
    return RuntimeError(f"the processes did not start: {report[-LAST_CHARACTERS:]}")
