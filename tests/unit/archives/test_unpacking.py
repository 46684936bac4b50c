"""Files that are unpacked for other readers."""

import gzip
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from imagepipe.archives.unpacking import folder_for, join, unpack_gzip

CONTENT = b"content"


def join_parts(raw: Path) -> tuple[Callable[[], Path], Path]:
    parts = [raw / "a.zip.001", raw / "a.zip.002"]
    parts[0].write_bytes(CONTENT[:3])
    parts[1].write_bytes(CONTENT[3:])
    return lambda: join(parts, "a.zip", raw), folder_for(parts[0], raw) / "a.zip"


def unpack_table(raw: Path) -> tuple[Callable[[], Path], Path]:
    source = raw / "a.csv.gz"
    source.write_bytes(gzip.compress(CONTENT))
    return lambda: unpack_gzip(source, raw), folder_for(source, raw) / "a.csv"


@pytest.mark.parametrize("made", [join_parts, unpack_table])
def test_what_another_job_has_just_unpacked_is_not_written_again(
    tmp_path: Path, made: Callable[[Path], tuple[Callable[[], Path], Path]]
) -> None:
    work, target = made(tmp_path)
    target.parent.mkdir(parents=True)
    with ThreadPoolExecutor(1) as thread:
        with FileLock(target.with_name(".lock")):
            waiting = thread.submit(work)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            target.write_bytes(CONTENT)
            inode = target.stat().st_ino
        assert waiting.result(timeout=10) == target
    assert target.stat().st_ino == inode and target.read_bytes() == CONTENT
