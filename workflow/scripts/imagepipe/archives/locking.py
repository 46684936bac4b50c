"""Locks between the jobs that write into one folder."""

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from imagepipe.errors import UserError

# What file systems without flock answer, such as some mounts of NFS and Lustre.
NO_FLOCK = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
# Seconds. A job that was killed on another machine leaves its soft lock behind.
LONGEST_WAIT = 4 * 3600


def lock(path: Path, timeout: float = -1) -> BaseFileLock:
    """Acquire a lock file, waiting up to `timeout` seconds (-1: without end), and return its lock.

    Without flock, it is the existence of a file beside `path`. Raises `Timeout`.
    """
    found: BaseFileLock = FileLock(path)
    try:
        with warnings.catch_warnings():
            # filelock itself falls back in one case, and says so.
            warnings.filterwarnings("ignore", "flock not supported", UserWarning)
            found.acquire(timeout=timeout)
    except (NotImplementedError, OSError) as error:
        # `Timeout` is an OSError without number.
        if isinstance(error, OSError) and error.errno not in NO_FLOCK:
            raise
        found = SoftFileLock(path.with_name(f"{path.name}.soft"))
        found.acquire(timeout=timeout)
    return found


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder, and let only one job at a time into this block. Others wait.

    Raises `UserError` if another job takes very long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = lock(folder / ".lock", LONGEST_WAIT)
    except Timeout as error:
        raise UserError(
            f"{folder}: another job has been unpacking into it for {LONGEST_WAIT // 3600} hours; "
            f"if there is none, remove {error.lock_file}"
        ) from None
    try:
        yield
    finally:
        held.release()
