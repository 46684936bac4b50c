"""The workflow through a real Slurm on this machine, with the profile as it is shipped."""

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from builders import make_competition, make_kaggle, write_archive, write_csv
from imagepipe import checkpoint
from local_slurm import LocalSlurm, call
from project import Project, kill_group, text_since, wait_until
from training_builders import CLASSES, coloured

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

# The profile, looking for what has become of its jobs more often than a cluster would like, and by
# `squeue`, as this Slurm has no accounting.
PROFILE = (
    *("--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"),
    *("--latency-wait", "20"),
)
ONE_THREAD = ("data_threads=1", "training_threads=1", "training_mem_mb=2000", "layout=packed")
KAGGLE = ("dataset=cifar10", "raw_dir=kaggle")
# With GELU, as rounding makes a value on one side of a ReLU's bend come out on the other.
SMOOTH = (
    "override={epochs: 5, batch_size: 50, precision: fp32, loss: {reduction: mean}, "
    "model: {name: airbench, widths: [8, 16, 16]}, optimizer: {name: sgd, lr: 0.02}}"
)
RESULTS = "results/cifar10/fast"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSlurm]:
    slurm = LocalSlurm(tmp_path_factory.mktemp("slurm"))
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


def override(epochs: int) -> str:
    return (
        f"override={{epochs: {epochs}, batch_size: 10, least_steps_per_epoch: 1, precision: fp32, "
        "test_time_augmentation: none, freeze: [], model: {name: small_cnn, width: 8}}"
    )


@dataclass(frozen=True)
class Way:
    """A call of the whole way that has been started, and what it is called with."""

    project: Project
    config: tuple[str, ...]
    process: "subprocess.Popen[bytes]"

    def wait(self) -> None:
        code = self.process.wait(timeout=400)
        assert code == 0, self.output

    @property
    def output(self) -> str:
        """What Snakemake has written to its log."""
        logs = (self.project.directory / ".snakemake/log").glob("*.log")
        return "".join(log.read_text() for log in sorted(logs))

    def submitted(self, message: str) -> list[int]:
        """Return Slurm's numbers of the jobs whose message begins like that."""
        jobs = re.findall(rf"^Job (\d+): {message}", self.output, flags=re.MULTILINE)
        numbers = re.findall(r"Job (\S+) has been submitted with SLURM jobid (\d+)", self.output)
        return [int(number) for job, number in numbers if job in jobs]


@pytest.fixture(scope="module")
def ways(slurm: LocalSlurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Way]]:
    """Four calls at once, as a cluster is there for many; most of their time is waiting."""

    def start(name: str, *config: str, targets: Sequence[str] = ("submission.csv",)) -> Way:
        project = projects[name]
        process = project.start(*targets, *PROFILE, config=(*ONE_THREAD, *config))
        return Way(project, (*ONE_THREAD, *config), process)

    folder = tmp_path_factory.mktemp("ways")
    names = ["sample", "two nodes", "members"]
    real_data = os.environ.get("IMAGEPIPE_REAL_DATA")
    projects = {name: Project.copy_to(folder / name) for name in [*names, "real"]}
    write_coloured(projects["two nodes"].directory / "kaggle")
    make_competition(projects["members"].directory / "kaggle", train=400, test=20)
    # A node has two GPUs for Slurm, and none for PyTorch. Members without can run five at once.
    without_gpus = (*KAGGLE, override(epochs=8), "device=cpu", "members=5")
    models = [f"{RESULTS}/seed{seed}/final/model.safetensors" for seed in range(5)]
    ways = {
        "sample": start("sample", "override={epochs: 1}"),
        "two nodes": start("two nodes", *KAGGLE, SMOOTH, "nodes_per_run=2"),
        "members": start("members", *without_gpus, targets=models),
    }
    if real_data:
        archives = folder / "archives"
        make_kaggle(Path(real_data), archives, "--train", "2000", "--test", "500")
        config = ("dataset=cifar10", f"raw_dir={archives}", override(epochs=1), "device=cpu")
        ways["real"] = start("real", *config)
    yield ways
    for way in ways.values():
        end(way.process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a call that a failed test has left."""
    if process.poll() is None:
        kill_group(process, signal.SIGKILL)


def run_here(way: Way, parent: Path, *without: str) -> Project:
    """Do on this machine what has been done on the cluster, less some of its config."""
    project = Project.copy_to(parent)
    archives = way.project.directory / "kaggle"
    if archives.exists():
        shutil.copytree(archives, project.directory / "kaggle")
    config = tuple(item for item in way.config if item not in without)
    result = project.run("submission.csv", config=config)
    assert result.code == 0, result.output
    return project


def assert_same_bytes(one: Project, other: Project, results: str) -> None:
    models = [f"{results}/{stage}/model.safetensors" for stage in ("train", "final")]
    for path in ("submission.csv", *models):
        assert one.read(path) == other.read(path), path


def test_the_whole_way_gives_the_bytes_of_the_local_run(
    ways: dict[str, Way], tmp_path: Path
) -> None:
    way = ways["sample"]
    here = run_here(way, tmp_path)
    way.wait()
    assert way.output.count("submitted with SLURM jobid") == 4  # data, train, retrain, predict
    assert_same_bytes(here, way.project, "results/sample/fast/seed0")
    again = way.project.run("submission.csv", *PROFILE, config=way.config, cores=None)
    assert "Nothing to be done" in again.output


@pytest.mark.realdata
def test_real_images_give_the_bytes_of_the_local_run(ways: dict[str, Way], tmp_path: Path) -> None:
    here = run_here(ways["real"], tmp_path)
    ways["real"].wait()
    assert_same_bytes(here, ways["real"].project, f"{RESULTS}/seed0")
    assert len(rows(here.directory / "submission.csv")) == 500


def test_five_members_run_side_by_side_on_two_nodes(
    slurm: LocalSlurm, ways: dict[str, Way]
) -> None:
    way = ways["members"]
    way.wait()
    numbers = way.submitted("Train fast, seed ., on all")
    assert len(numbers) == 5
    jobs = [job for job in slurm.finished() if job.number in numbers]
    assert [job.state for job in jobs] == ["COMPLETED"] * 5
    assert max(job.start for job in jobs) < min(job.end for job in jobs)
    assert {job.nodes for job in jobs} == {"n1", "n2"}


def test_a_training_on_two_nodes_comes_to_the_same_as_on_one(
    slurm: LocalSlurm, ways: dict[str, Way], tmp_path: Path
) -> None:
    way = ways["two nodes"]
    one = run_here(way, tmp_path, "nodes_per_run=2").directory
    way.wait()
    two = way.project.directory
    numbers = way.submitted("Train")
    jobs = [job for job in slurm.finished() if job.number in numbers]
    assert [job.nodes for job in jobs] == ["n[1-2]"] * 2
    log = two / "logs/cifar10/fast/seed0/train.log"
    assert "1 threads in each of 2 processes" in log.read_text()
    for stage in ("train", "final"):
        history = f"{RESULTS}/seed0/{stage}/history.csv"
        for alone, together in zip(rows(one / history), rows(two / history), strict=True):
            loss = float(alone["train_loss"])
            assert float(together["train_loss"]) == pytest.approx(loss, rel=1e-4)
    answers = [rows(folder / "submission.csv") for folder in (one, two)]
    same = [a == b for a, b in zip(*answers, strict=True)]
    assert len(same) == 1000
    assert sum(same) >= 999
    # They are not the same because nothing was learned.
    assert {row["label"] for row in answers[1]} == set(CLASSES)
    assert float(rows(two / f"{RESULTS}/seed0/final/history.csv")[-1]["train_accuracy"]) > 0.9


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def log_text(log: Path) -> str:
    return text_since(log, 0.0) or ""


def test_whatever_the_cluster_does_the_bytes_are_the_same(
    slurm: LocalSlurm, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    undisturbed, project = (Project.copy_to(tmp_path / name) for name in ("one", "other"))
    for each in (undisturbed, project):
        make_competition(each.directory / "kaggle", train=400, test=20)
    config = (*ONE_THREAD, *KAGGLE, "checkpoint_minutes=0.005", override(epochs=280))
    outputs = [
        f"{RESULTS}/seed0/train/{name}" for name in ("model.safetensors", "valid_logits.npz")
    ]
    saved = project.directory / RESULTS / "seed0/.checkpoint/train" / checkpoint.FILE_NAME
    log = project.directory / "logs/cifar10/fast/seed0/train.log"

    def training_job() -> int:
        """Wait until a training saves from now on, and return the number of its job."""
        since = time.time() + 1
        wait_until(lambda: saved.is_file() and saved.stat().st_mtime > since, 180)
        (job,) = slurm.running("train")
        return job

    undisturbed_run = undisturbed.start(outputs[0], config=config)
    process = project.start(outputs[0], *PROFILE, config=config)
    for each_run in (undisturbed_run, process):
        request.addfinalizer(partial(end, each_run))
    first = training_job()

    # A job that is cancelled is submitted anew.
    call("scancel", str(first))
    wait_until(lambda: not slurm.running("train"), 60)
    second = training_job()
    assert second != first
    assert "carry on after epoch" in log.read_text()

    # One whose node goes down begins again on the other.
    node = slurm.node_of(second)
    call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    assert training_job() == second
    other_node = slurm.node_of(second)
    assert other_node != node
    assert "carry on after epoch" in log.read_text()
    call("scontrol", "update", f"nodename={node}", "state=resume")

    # One that makes room for more urgent work begins again when there is room.
    urgent = ("sbatch", "--parsable", "-p", "urgent", "-N2", "--exclusive", "-o", "/dev/null")
    call(*urgent, "--wrap", "sleep 3")
    wait_until(lambda: not slurm.running("train"), 60)
    assert training_job() == second
    assert "carry on after epoch" in log.read_text()

    # One that is about to reach its time limit saves, and is submitted anew.
    call("scontrol", "update", f"jobid={second}", "endtime=now+90")
    wait_until(lambda: "stopped by SIGTERM" in log_text(log), 90)
    third = training_job()
    assert third != second
    assert "carry on after epoch" in log.read_text()

    # A job does not mind that the controller is away.
    slurm.stop_controller()
    time.sleep(3)
    slurm.start_controller()
    assert training_job() == third

    # One that Slurm itself has ended for its time is submitted anew.
    call("scontrol", "update", f"jobid={third}", "endtime=now")
    wait_until(lambda: third not in slurm.running("train"), 90)
    assert [job.state for job in slurm.finished() if job.number == third] == ["TIMEOUT"]
    fourth = training_job()
    assert fourth != third
    assert "carry on after epoch" in log.read_text()
    assert process.poll() is None

    # And when all are gone, the next call carries on.
    kill_group(process, signal.SIGKILL)
    call("scancel", "--user=root")
    wait_until(lambda: call("squeue", "-h") == "", 60)
    assert not (project.directory / outputs[0]).exists()
    assert project.run("--unlock", config=config).code == 0
    result = project.run(outputs[0], *PROFILE, config=config, cores=None)
    assert result.code == 0, result.output
    assert "carry on after epoch" in log.read_text()
    assert undisturbed_run.wait(timeout=60) == 0
    for output in outputs:
        assert project.read(output) == undisturbed.read(output), output


def write_coloured(folder: Path) -> None:
    """Write the competition's files, of 300 and 1,000 images that are easily told apart."""
    images, numbers = coloured(1300, size=32)
    labels = [CLASSES[number] for number in numbers]
    contents = []
    for image in images.numpy():
        content = io.BytesIO()
        Image.fromarray(image).save(content, format="PNG", compress_level=1)
        contents.append(content.getvalue())
    for split, part in (("train", contents[:300]), ("test", contents[300:])):
        members = {f"{split}/{i}.png": content for i, content in enumerate(part, start=1)}
        write_archive(folder / f"{split}.7z", members)
    write_csv(folder / "trainLabels.csv", ("id", "label"), enumerate(labels[:300], start=1))
    sample = ((i, CLASSES[0]) for i in range(1, 1001))
    write_csv(folder / "sampleSubmission.csv", ("id", "label"), sample)
