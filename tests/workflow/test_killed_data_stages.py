"""Data stages that are killed at any moment: the next call ends with the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from builders import make_competition
from project import Project, kill_group, text_since

DATA = "data/cifar10"
# How long a call goes on after its first job has begun: none of the stages takes longer.
LONGEST = 2.0
KILLS = int(os.environ.get("IMAGEPIPE_STOPS", "20"))


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("archives")
    make_competition(raw, train=3_000, test=2_000)
    return raw


def contents(project: Project) -> dict[str, bytes]:
    """Return all files of the data stages, but not Snakemake's own time stamps."""
    return {
        str(path.relative_to(project.directory)): path.read_bytes()
        for path in (project.directory / DATA).rglob("*")
        if path.is_file() and path.name != ".snakemake_timestamp"
    }


def wait_for_a_job(process: "subprocess.Popen[bytes]", logs: Path, since: float) -> None:
    """Wait until the process has begun a job, or has ended."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if any(text_since(log, since) is not None for log in logs.glob("*.log")):
            return
        time.sleep(0.02)
    assert process.poll() is not None, "no job has begun"


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "kills"), [("folders", KILLS), ("packed", KILLS // 4)])
def test_stages_that_are_killed_at_random_moments_leave_the_same_bytes(
    tmp_path: Path, archives: Path, layout: str, kills: int
) -> None:
    config = ("dataset=cifar10", f"raw_dir={archives}", f"layout={layout}")
    stages = ("pack", "reorganise" if layout == "folders" else "split")
    raw_before = {path.name: path.read_bytes() for path in archives.iterdir()}
    undisturbed = Project.copy_to(tmp_path / "undisturbed")
    assert undisturbed.run(*stages, config=config).code == 0
    expected = contents(undisturbed)
    assert len(expected) > (2 * 5_000 if layout == "folders" else 10)

    project = Project.copy_to(tmp_path / "killed")
    moments = random.Random(0)
    killed = 0
    while killed < kills:
        start = time.time()
        process = project.start(*stages, config=config)
        wait_for_a_job(process, project.directory / "logs/cifar10", start)
        time.sleep(moments.uniform(0.0, LONGEST))
        if process.poll() is None:
            kill_group(process, signal.SIGKILL)
            killed += 1
            assert project.run("--unlock", config=config).code == 0
        else:
            # All stages have come to their end: look, and begin anew.
            assert process.returncode == 0
            assert contents(project) == expected
            shutil.rmtree(project.directory / "data")
    result = project.run(*stages, config=config)
    assert result.code == 0, result.output
    assert contents(project) == expected
    assert {path.name: path.read_bytes() for path in archives.iterdir()} == raw_before
