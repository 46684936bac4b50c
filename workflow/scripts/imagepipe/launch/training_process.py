"""One of the processes that share a training; torchrun starts it.

python -m imagepipe.launch.training_process FOLDER
"""

import json
import logging
import os
import signal
import sys
import traceback
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist

from imagepipe.distributed.process_group import ProcessGroup
from imagepipe.errors import Stopped, UserError
from imagepipe.files import write_text
from imagepipe.interruption import STOP_SIGNALS, die_with_parent
from imagepipe.launch.launching import RUN_FILE, WorkerFailure
from imagepipe.training.runs import train_run


def main(folder: Path) -> None:
    """Take part in the training to its end."""
    die_with_parent()
    for number in STOP_SIGNALS:
        # The first process heeds one while it trains, but no second one while it saves.
        signal.signal(number, signal.SIG_IGN)
    group = ProcessGroup(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if group.is_first:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        train_run(RUN_FILE.validate_json((folder / "run.json").read_bytes()), group)
        group.barrier()
        dist.destroy_process_group()
        return
    except UserError as error:
        failure = WorkerFailure("user", str(error))
    except Stopped as stopped:
        failure = WorkerFailure("stopped", str(stopped), stopped.signal_number)
    except Exception as error:
        from_gloo = isinstance(error, RuntimeError) and "gloo" in str(error)
        kind = "lost" if isinstance(error, dist.DistError) or from_gloo else "mistake"
        failure = WorkerFailure(kind, f"process {group.rank}: {traceback.format_exc()}")
    write_text(folder / f"failure{group.rank:06}.json", json.dumps(asdict(failure)))
    sys.stdout.flush()
    # At once: a normal exit would wait for the other processes, which may never answer.
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
