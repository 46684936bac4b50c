"""PBS, LSF and Grid Engine: the commands that submit, query and cancel jobs.

Arguments and output formats are from the manuals: the reference guides of OpenPBS and IBM Spectrum
LSF, and Grid Engine's man pages qsub(1), qstat(1), qacct(1) and queue_conf(5).
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS_OF_WARNING = 120
# PBSE_UNKJOBID, 15001, as an exit code.
UNKNOWN_TO_PBS = 15001 % 256


@dataclass(frozen=True)
class Request:
    """A job's request: threads, memory in MB, time in minutes and GPUs, on one node."""

    name: str
    threads: int
    mem_mb: int
    minutes: int
    gpus: int
    log: Path


@dataclass(frozen=True)
class Scheduler:
    """The commands of one scheduler.

    `submit` returns the command without the script's path, the pattern `read_number` finds the
    job's number in its output, and `status` returns "running", "success" or "failed" for a number.
    `submit_options` are a site's own options, such as a queue or an account.
    """

    submit: Callable[[Request], list[str]]
    read_number: str
    status: Callable[[str], str]
    cancel: str
    submit_options: tuple[str, ...] = ()


def submit_to_pbs(request: Request) -> list[str]:
    gpus = f":ngpus={request.gpus}" if request.gpus else ""
    chunk = f"select=1:ncpus={request.threads}:mem={request.mem_mb}mb{gpus}"
    # At the time limit, PBS sends SIGTERM, waits for the queue's kill_delay, and kills the job.
    walltime = f"walltime={request.minutes // 60:02}:{request.minutes % 60:02}:00"
    name = ("-N", request.name, "-j", "oe", "-o", str(request.log))
    return ["qsub", *name, "-l", chunk, "-l", walltime]


def status_in_pbs(number: str) -> str:
    """Ask `qstat -x`, which includes finished jobs if the server keeps their history.

    Otherwise a job that has left the queue counts as a success, and Snakemake checks its outputs.
    """
    done = subprocess.run(["qstat", "-x", "-f", number], stdout=subprocess.PIPE, text=True)
    if done.returncode == UNKNOWN_TO_PBS:
        return "success"
    if value("job_state", done.stdout) not in ("F", "X"):
        return "running"
    return "success" if value("Exit_status", done.stdout) == "0" else "failed"


def submit_to_lsf(request: Request) -> list[str]:
    gpus = ["-gpu", f"num={request.gpus}"] if request.gpus else []
    return [
        *("bsub", "-J", request.name, "-o", str(request.log), "-n", str(request.threads)),
        *("-R", f"span[hosts=1] rusage[mem={request.mem_mb}MB]", *gpus, "-W", str(request.minutes)),
        *("-wa", "TERM", "-wt", str(SECONDS_OF_WARNING // 60), "/bin/sh"),
    ]


def status_in_lsf(number: str) -> str:
    state = output_of("bjobs", "-noheader", "-o", "stat", number)
    return {"DONE": "success", "EXIT": "failed"}.get(state, "running")


def submit_to_grid_engine(request: Request) -> list[str]:
    seconds = 60 * request.minutes
    resources = [
        f"h_rt={seconds}",
        # At this limit, the job gets SIGUSR1.
        f"s_rt={max(seconds - SECONDS_OF_WARNING, seconds // 2)}",
        # Memory is per slot.
        f"h_vmem={-(-request.mem_mb // request.threads)}M",
    ]
    if request.gpus:
        resources.append(f"gpu={request.gpus}")
    return [
        *("qsub", "-terse", "-cwd", "-V", "-S", "/bin/sh", "-N", request.name, "-j", "y"),
        *("-o", str(request.log), "-pe", "smp", str(request.threads), "-l", ",".join(resources)),
    ]


def status_in_grid_engine(number: str) -> str:
    """Ask `qstat` or, if it no longer knows the job, `qacct`."""
    if subprocess.run(["qstat", "-j", number], capture_output=True).returncode == 0:
        return "running"
    text = output_of("qacct", "-j", number)
    # The record appears a few seconds after the job's end.
    if not text:
        return "running"
    ended_well = value("failed", text) == "0" and value("exit_status", text) == "0"
    return "success" if ended_well else "failed"


SCHEDULERS = {
    "bsub": Scheduler(submit_to_lsf, r"Job <(\d+)>", status_in_lsf, "bkill"),
    "qconf": Scheduler(submit_to_grid_engine, r"^(\d+)", status_in_grid_engine, "qdel"),
    "qsub": Scheduler(submit_to_pbs, r"^(\S+)", status_in_pbs, "qdel"),
}


def scheduler_here() -> Scheduler:
    """Return the first scheduler whose command is installed; exit if there is none."""
    for command, scheduler in SCHEDULERS.items():
        if shutil.which(command):
            return scheduler
    sys.exit("error: none of the commands bsub, qconf, qsub is here; is this the login node?")


def output_of(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.strip()


def value(name: str, text: str) -> str | None:
    """Return the first word after a name (and an equals sign, if any) at the start of a line."""
    found = re.search(rf"^\s*{name}\s*=?\s+(\S+)", text, flags=re.MULTILINE)
    return found[1] if found else None
