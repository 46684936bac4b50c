"""One of the processes that share a training, as PyTorch's launcher starts it.

python -m imagepipe.launch.training_process FOLDER
"""

import logging
import os
import signal
import sys
import traceback
from pathlib import Path

import torch
import torch.distributed as dist

from imagepipe.distributed.processes import Processes
from imagepipe.errors import Stopped, UserError
from imagepipe.interruption import STOP_SIGNALS, die_with_parent
from imagepipe.launch.launching import Failure, read_run
from imagepipe.training.runs import train_run


def main(folder: Path) -> int:
    """Take part in the training to its end, and return the exit code."""
    die_with_parent()
    for number in STOP_SIGNALS:
        # The first process heeds one while it trains, and no second one while it saves.
        signal.signal(number, signal.SIG_IGN)
    processes = Processes(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if processes.is_first:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    failure = None
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        train_run(read_run(folder), processes)
        processes.wait_for_all()
    except UserError as error:
        failure = Failure(processes.rank, "user", str(error))
    except Stopped as stopped:
        failure = Failure(processes.rank, "stopped", str(stopped), stopped.signal_number)
    except Exception as error:
        kind = "lost" if is_lost_connection(error) else "mistake"
        failure = Failure(processes.rank, kind, traceback.format_exc())
    sys.stdout.flush()
    if failure is None:
        dist.destroy_process_group()
        return 0
    failure.write(folder)
    # The others may never answer: nothing waits for them.
    os._exit(1)


def is_lost_connection(error: Exception) -> bool:
    """Say whether an error means that another process has gone."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error)
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
