"""What there is in a folder, to be compared with what there is later."""

import os
import stat
from pathlib import Path


def snapshot(folder: Path, *left_out: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return {path: (mode, time, content)} of all that is below a folder.

    Links are not followed: their content is where they lead. Of a folder the time is left out, as
    what is in it tells more. The folders `left_out` are not looked at.
    """
    found: dict[str, tuple[int, int, bytes]] = {}
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(path, name) not in left_out]
        for entry in (Path(path, name) for name in (*folders, *files)):
            status = entry.lstat()
            if stat.S_ISLNK(status.st_mode):
                content = os.fsencode(entry.readlink())
            else:
                content = entry.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            time = 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns
            found[str(entry)] = (status.st_mode, time, content)
    return found
