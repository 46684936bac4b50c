"""Jobs that run side by side each take a GPU of their own."""

import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from imagepipe.device.gpu_claims import claimed_gpu

SCRIPTS = Path(__file__).parents[3] / "workflow" / "scripts"
HOLD = """
import sys
from imagepipe.device.gpu_claims import claimed_gpu
with claimed_gpu(sys.argv[1:]) as index:
    print(index, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def other_job(*uuids: str) -> "tuple[subprocess.Popen[str], int]":
    """Start another process that claims one of the GPUs and holds it; return the index it got."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, *uuids],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_each_job_has_a_gpu_of_its_own() -> None:
    one, first = other_job("a", "b", "c")
    two, second = other_job("a", "b", "c")
    with claimed_gpu(["a", "b", "c"]) as third:
        assert [first, second, third] == [0, 1, 2]
    for process in (one, two):
        process.communicate("")


def test_a_gpu_is_the_same_one_under_another_index() -> None:
    process, index = other_job("b")
    assert index == 0
    with claimed_gpu(["b", "a"]) as mine:
        assert mine == 1
    process.communicate("")


@pytest.mark.parametrize("end", [signal.SIGKILL, None])
def test_a_gpu_is_free_again_when_its_job_has_ended_however_it_did(
    end: signal.Signals | None,
) -> None:
    process, _ = other_job("a", "b")
    with claimed_gpu(["a", "b"]) as index:
        assert index == 1
    if end is not None:
        process.send_signal(end)
    process.communicate("")
    with claimed_gpu(["a", "b"]) as index:
        assert index == 0


def test_where_all_are_taken_one_is_shared_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    process, _ = other_job("a")
    with caplog.at_level(logging.WARNING), claimed_gpu(["a"]) as index:
        assert index == 0
    assert "every GPU is in use by another job; sharing GPU 0" in caplog.text
    process.communicate("")
