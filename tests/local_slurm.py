"""A real Slurm on this machine: a controller and four nodes, on ports of the loopback interface.

Debian's packages slurm-wlm and munge are all that it needs. Slurm's own commands, and the jobs of
Snakemake's executor, look for the configuration in /etc/slurm, so it is put there for as long as
the tests run.

Two of the nodes are for what a cluster does to its jobs: the jobs on the others do not notice.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from project import wait_until

CONFIGURATION = Path("/etc/slurm/slurm.conf")
RESOURCES = Path("/etc/slurm/gres.conf")
CLUSTER = "imagepipe-tests"
NODES = ("n1", "n2")
# The partition of the nodes on which tests disturb jobs, and one whose jobs take these nodes first.
TROUBLED, URGENT = "troubled", "urgent"
TROUBLED_NODES = ("n3", "n4")
ALL_NODES = (*NODES, *TROUBLED_NODES)
CORES_PER_NODE = 8
GPUS_OF_A_NODE = ("/dev/null", "/dev/zero")
OURS = "# Of a test of imagepipe, and to be removed at its end.\n"
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun")


def reason_for_none() -> str | None:
    """Return why no Slurm can be started here; None if one can."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"needs Debian's packages slurm-wlm and munge ({', '.join(missing)} not found)"
    if os.geteuid() != 0:
        return "needs root, to put a Slurm configuration into /etc/slurm"
    if CONFIGURATION.exists() and not CONFIGURATION.read_text().startswith(OURS):
        return f"{CONFIGURATION} belongs to another Slurm"
    return None


@dataclass(frozen=True)
class FinishedJob:
    """A job that Slurm has ended: its number, state, nodes, and times in seconds."""

    number: int
    state: str
    nodes: str
    start: float
    end: float


@dataclass(frozen=True)
class LocalSlurm:
    """The daemons, and what they keep in `folder`."""

    folder: Path

    def start(self) -> None:
        if CONFIGURATION.exists():
            # A test that was killed has left it.
            kept = re.findall(r"StateSaveLocation=(.*)/state", CONFIGURATION.read_text())
            LocalSlurm(Path(kept[0])).stop()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {
            "socket": "munge.socket",
            "key-file": "munge.key",
            "pid-file": "munged.pid",
            "log-file": "munged.log",
            "seed-file": "munged.seed",
        }
        paths = [f"--{option}={self.folder / name}" for option, name in files.items()]
        subprocess.run(["munged", "--force", *paths], check=True)
        CONFIGURATION.parent.mkdir(exist_ok=True)
        CONFIGURATION.write_text(self.configuration())
        gpus = "".join(f"Name=gpu File={device}\n" for device in GPUS_OF_A_NODE)
        RESOURCES.write_text(gpus)
        (self.folder / "state").mkdir()
        self.start_controller()
        for node in ALL_NODES:
            (self.folder / f"spool-{node}").mkdir()
            subprocess.run(["slurmd", "-N", node], check=True)
        wait_until(lambda: call("sinfo", "-h", "-o", "%T %D") == f"idle {len(ALL_NODES)}", 60)

    def configuration(self) -> str:
        host = socket.gethostname()
        ports = free_ports(1 + len(ALL_NODES))
        nodes = "".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs={CORES_PER_NODE} RealMemory=20000 Gres=gpu:{len(GPUS_OF_A_NODE)}\n"
            for node, port in zip(ALL_NODES, ports[1:], strict=True)
        )
        return f"""\
{OURS}ClusterName={CLUSTER}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={self.folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool-%n
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd-%n.pid
SlurmctldLogFile={self.folder}/slurmctld.log
SlurmdLogFile={self.folder}/slurmd-%n.log
JobCompType=jobcomp/filetxt
JobCompLoc={self.folder}/jobs.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=1
KillWait=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{nodes}PartitionName=main Nodes={",".join(NODES)} Default=YES MaxTime=600 LLN=YES
PartitionName={TROUBLED} Nodes={",".join(TROUBLED_NODES)} MaxTime=600 PriorityTier=1 LLN=YES
PartitionName={URGENT} Nodes={",".join(TROUBLED_NODES)} MaxTime=600 PriorityTier=2
"""

    def start_controller(self) -> None:
        subprocess.run(["slurmctld"], check=True)
        wait_until(lambda: succeeds("scontrol", "ping"), 60)

    def stop_controller(self) -> None:
        self.end("slurmctld")

    def end(self, daemon: str) -> None:
        """End a daemon by the number in its file, and wait until it is gone."""
        path = self.folder / f"{daemon}.pid"
        try:
            number = int(path.read_text())
            os.kill(number, signal.SIGTERM)
        except (FileNotFoundError, ProcessLookupError):
            return
        wait_until(lambda: not Path(f"/proc/{number}").exists(), 60)

    def stop(self) -> None:
        if (self.folder / "slurmctld.pid").exists():
            subprocess.run(["scancel", "--user=root"], check=False)
        for daemon in (*(f"slurmd-{node}" for node in ALL_NODES), "slurmctld", "munged"):
            self.end(daemon)
        # proctrack/linuxproc overlooks some processes of a job whose node was said to be down.
        for process in psutil.process_iter(["environ"]):
            if (process.info["environ"] or {}).get("SLURM_CLUSTER_NAME") == CLUSTER:
                process.kill()
        for path in (CONFIGURATION, RESOURCES):
            path.unlink(missing_ok=True)

    def running(self, rule: str, partition: str) -> list[int]:
        """Return the numbers of the running jobs of a rule in a partition."""
        jobs = ("squeue", "-h", "-p", partition, "-t", "RUNNING", "-o", "%A %k")
        lines = call(*jobs).splitlines()
        return [int(line.split()[0]) for line in lines if f"rule_{rule}" in line]

    def node_of(self, number: int) -> str:
        return call("squeue", "-h", "-j", str(number), "-o", "%N")

    def finished(self) -> list[FinishedJob]:
        """Return the jobs that have ended, in the order of their ends; a requeued one each time."""
        jobs = []
        for line in (self.folder / "jobs.log").read_text().splitlines():
            field = dict(re.findall(r"(\w+)=(\S*)", line))
            times = [
                time.mktime(time.strptime(field[name], "%Y-%m-%dT%H:%M:%S"))
                for name in ("StartTime", "EndTime")
            ]
            jobs.append(
                FinishedJob(int(field["JobId"]), field["JobState"], field["NodeList"], *times)
            )
        return jobs


def call(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    return done.stdout.strip()


def succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
