"""Every file between the jobs in an S3 storage, a server on this machine, and no folder shared."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from builders import make_competition
from project import (
    QUICK,
    Project,
    Result,
    environment,
    kill_group,
    run_of,
    trained,
    wait_until,
    write_program,
)

pytestmark = pytest.mark.slow

CONFIG = ("dataset=cifar10", "layout=packed", QUICK)
SUBMISSION = "submission.csv"
TRAINED = trained(f"results/cifar10/{run_of(QUICK)}")
# All that the jobs share.
CODE = ("sources", "source-cache")


@dataclass(frozen=True)
class Storage:
    """A bucket of a server, and its keys."""

    address: str
    bucket: str
    client: Any

    @property
    def arguments(self) -> tuple[str, ...]:
        return (
            *("--default-storage-provider", "s3"),
            *("--default-storage-prefix", f"s3://{self.bucket}/run"),
            *("--storage-s3-endpoint-url", self.address),
        )

    def uploads(self) -> dict[str, datetime]:
        """Return when each file was uploaded for the last time."""
        listing = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {item["Key"].removeprefix("run/"): item["LastModified"] for item in listing}

    def read(self, path: str) -> bytes:
        answer = self.client.get_object(Bucket=self.bucket, Key=f"run/{path}")
        content: bytes = answer["Body"].read()
        return content


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    for name in ("ACCESS_KEY", "SECRET_KEY"):
        monkeypatch.setenv(f"SNAKEMAKE_STORAGE_S3_{name}", "test")
    # Snakemake does not take for granted that its own Python is everywhere.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    thread = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    thread.start()
    host, port = thread.get_host_and_port()
    try:
        address = f"http://{host}:{port}"
        # All servers of this process hold the same buckets.
        bucket = f"bucket{port}"
        client = boto3.client(
            *("s3", "us-east-1"),
            endpoint_url=address,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        client.create_bucket(Bucket=bucket)
        yield Storage(address, bucket, client)
    finally:
        thread.stop()


def prepared(parent: Path) -> tuple[Project, tuple[str, ...]]:
    project = Project.copy_to(parent)
    archives = parent / "archives"
    make_competition(archives, train=40, test=12)
    return project, (*CONFIG, f"raw_dir={archives}")


def test_jobs_that_share_no_folder_come_to_the_same_bytes(storage: Storage, tmp_path: Path) -> None:
    project, config = prepared(tmp_path / "storage")
    # A stand-in for a cluster: each job runs in a new folder, with the workflow's own code.
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    commands = {
        "submit": f'script=$(realpath "$1"); cd "$(mktemp -d {jobs}/XXXXXX)" || exit 1\n'
        'sh "$script" > log 2>&1; echo $? > code; basename "$PWD"',
        "status": f'[ "$(cat {jobs}/$1/code)" = 0 ] && echo success || echo failed',
    }
    for name, script in commands.items():
        write_program(tmp_path / name, script)
    cluster = (
        *("--executor", "cluster-generic", "--jobs", "4"),
        *("--cluster-generic-submit-cmd", str(tmp_path / "submit")),
        *("--cluster-generic-status-cmd", str(tmp_path / "status")),
        *("--seconds-between-status-checks", "1"),
        *("--shared-fs-usage", *CODE),
    )
    # Not by --directory, which Snakemake hands on to the jobs.
    snakefile = ("--snakefile", str(project.folder / "Snakefile"))
    call = [sys.executable, "-m", "snakemake", *snakefile, *storage.arguments, *cluster]
    done = subprocess.run(
        [*call, "--config", *config],
        cwd=project.directory,
        env=environment(),
        capture_output=True,
        text=True,
    )
    result = Result(done.returncode, done.stdout + done.stderr)
    assert result.code == 0, result.output
    assert (
        f"  submission      s3://{storage.bucket}/run/submission.csv" in result.output.splitlines()
    )
    # data, train, retrain, predict, augmentation and saliency
    assert len(list(jobs.iterdir())) == 6

    here, config_here = prepared(tmp_path / "here")
    assert here.run(*TRAINED, config=config_here).code == 0
    for path in TRAINED:
        assert storage.read(path) == here.read(path), path
    assert storage.read(SUBMISSION) == here.read(TRAINED[0])
    assert b"</html>" in storage.read("results/cifar10/report.html")
    # Nothing is left beside the storage: neither where Snakemake ran, nor where the jobs did.
    left = [path.name for path in project.directory.iterdir() if path.name != ".snakemake"]
    assert left == []
    assert not list(jobs.rglob("*.npy"))


def test_what_is_there_is_not_uploaded_again(storage: Storage, tmp_path: Path) -> None:
    project, config = prepared(tmp_path)
    shared = ("--shared-fs-usage", "persistence", *CODE)
    arguments = (*storage.arguments, *shared)
    process = project.start(*TRAINED, *arguments, config=config)
    wait_until(lambda: "data/cifar10/packed/32x32/duplicates.json" in storage.uploads(), 120)
    kill_group(process, signal.SIGKILL)
    before = storage.uploads()
    assert before.keys().isdisjoint(TRAINED)
    assert project.run("--unlock", *arguments, config=config).code == 0
    result = project.run(*TRAINED, *arguments, config=config)
    assert result.code == 0, result.output
    after = storage.uploads()
    folders = ("data/cifar10/packed", "data/cifar10/raw")
    finished = {key for key in before if key.startswith(folders)}
    finished -= {"data/cifar10/packed/32x32/duplicates.json"}  # of the job that was killed
    assert len(finished) >= 9
    assert {key: after[key] for key in finished} == {key: before[key] for key in finished}
    assert after.keys() >= set(TRAINED)
    result = project.run(*TRAINED, *arguments, config=config)
    assert "Nothing to be done" in result.output
    assert storage.uploads() == after
