"""Which GPU is whose: jobs that run side by side on one machine each take one of their own."""

import getpass
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)


@contextmanager
def claimed_gpu(uuids: Sequence[str]) -> Iterator[int]:
    """Give the index of a GPU that no other job has claimed, and claim it until the block ends.

    `uuids` are those of the GPUs that this process may see (CUDA_VISIBLE_DEVICES), so that a GPU is
    the same one whatever index it has in another process. The claim is a lock on a file, which the
    system drops when the process ends, however it ends. If every GPU is claimed, one is shared.
    """
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    folder = Path(tempfile.gettempdir()) / f"imagepipe-gpus-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for index, uuid in enumerate(uuids):
        lock = FileLock(folder / f"{uuid}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        try:
            yield index
        finally:
            lock.release()
        return
    index = os.getpid() % len(uuids)
    logger.warning("every GPU is in use by another job; share number %d", index)
    yield index
