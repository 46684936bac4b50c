"""Started once on every node: starts the node's processes by PyTorch's launcher.

python -m imagepipe.launch.launcher_process FOLDER
"""

import os
import socket
import sys
import time
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from imagepipe.errors import UserError
from imagepipe.files import write_text
from imagepipe.interruption import STOP_SIGNALS, die_with_parent
from imagepipe.launch.launching import Failure, ended, read_run

SECONDS_FOR_ALL_NODES = 600
SECONDS_TO_STOP = 60


def main(folder: Path) -> int:
    """Run the processes of this node to their end, and return the exit code."""
    die_with_parent()
    machine = read_run(folder).machine
    node = int(os.environ["SLURM_PROCID"]) if machine.nodes > 1 else 0
    per_node, count = machine.processes_per_node, machine.nodes * machine.processes_per_node
    log_folder = folder / f"launcher{node}"
    log_folder.mkdir()
    config = LaunchConfig(
        min_nodes=machine.nodes,
        max_nodes=machine.nodes,
        nproc_per_node=per_node,
        logs_specs=DefaultLogsSpecs(log_dir=str(log_folder)),
        run_id="imagepipe",
        rdzv_backend="static",
        rdzv_endpoint=meeting_place(folder, node),
        rdzv_configs={"rank": node, "timeout": SECONDS_FOR_ALL_NODES},
        max_restarts=0,
        signals_to_handle=",".join(signal.name for signal in STOP_SIGNALS),
        shutdown_timeout=SECONDS_TO_STOP,
    )
    try:
        elastic_launch(config, sys.executable)(
            "-m", "imagepipe.launch.training_process", str(folder)
        )
    except SignalException as asked:
        return 128 + asked.sigval
    except ChildFailedError as failed:
        for rank, failure in failed.failures.items():
            if not list(folder.glob(f"failure{rank}.*")):
                ended(rank, count, failure.exitcode).write(folder)
        return 1
    return 0


def meeting_place(folder: Path, node: int) -> str:
    """Return host:port of the first node, which chooses the port and tells the others by a file."""
    file = folder / "meeting_place"
    if node == 0:
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = probe.getsockname()[1]
        write_text(file, f"{socket.gethostname()}:{port}")
    begin = time.monotonic()
    while not file.exists():
        if time.monotonic() - begin > SECONDS_FOR_ALL_NODES:
            raise UserError(f"{file}: the first node has not written it; do all nodes share it?")
        time.sleep(0.1)
    return file.read_text(encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1])))
    except UserError as error:
        Failure(-1, "user", str(error)).write(Path(sys.argv[1]))
        sys.exit(1)
