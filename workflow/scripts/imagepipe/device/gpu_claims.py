"""Jobs side by side on one machine each claim a GPU of their own."""

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
    """Claim a GPU that no other job has claimed, and give its index, until the block ends.

    uuids: those of the GPUs that this process sees (CUDA_VISIBLE_DEVICES); indices differ between
    processes. A claim is a file lock, which the system releases however the process ends. If all
    GPUs are claimed, one is shared.
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
    logger.warning("every GPU is in use by another job; sharing GPU %d", index)
    yield index
