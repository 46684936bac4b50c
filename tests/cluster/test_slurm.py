"""The workflow through a real Slurm on this machine, with the profile as it is shipped."""

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from builders import make_competition, make_kaggle, write_archive, write_csv
from image_builders import CLASSES
from imagepipe.training import checkpoint
from local_slurm import TROUBLED, URGENT, LocalSlurm, call
from project import Project, kill_group, run_of, text_since, trained, wait_until
from training_builders import colored

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

# The profile, looking for what has become of its jobs more often than a cluster would like, and by
# `squeue`, as this Slurm has no accounting.
PROFILE = (
    *("--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"),
    *("--latency-wait", "20"),
)
TRAININGS = ("train", "retrain", "predict")
PACKED = "layout=packed"


def one_thread(*resources: str) -> tuple[str, ...]:
    """Return what asks for one thread and little memory for each job, and for more resources."""
    threads = (f"{rule}=1" for rule in ("extract", "pack", *TRAININGS))
    memory = (f"{rule}:mem_mb=2000" for rule in TRAININGS)
    return ("--set-threads", *threads, "--set-resources", *memory, *resources)


KAGGLE = ("dataset=cifar10", "raw_dir=kaggle")
# With GELU, as rounding makes a value on one side of a ReLU's bend come out on the other.
SMOOTH = (
    "override={epochs: 5, batch_size: 50, precision: fp32, loss: {reduction: mean}, "
    "model: {name: airbench, widths: [8, 16, 16]}, optimizer: {name: sgd, lr: 0.02}}"
)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSlurm]:
    slurm = LocalSlurm(tmp_path_factory.mktemp("slurm"))
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


SAMPLE = "results/sample/fast@epochs=1"


def override(epochs: int) -> str:
    return (
        f"override={{epochs: {epochs}, batch_size: 10, min_steps_per_epoch: 1, precision: fp32, "
        "test_time_augmentation: none, freeze: [], model: {name: small_cnn, width: 8}}"
    )


def results_of(override: str) -> str:
    """Return the folder of an override's results."""
    return f"results/cifar10/{run_of(override)}"


@dataclass(frozen=True)
class Way:
    """A call of snakemake that has been started, and what it is called with."""

    project: Project
    config: tuple[str, ...]
    process: "subprocess.Popen[bytes]"

    @classmethod
    def start(cls, project: Project, *arguments: str, config: tuple[str, ...]) -> "Way":
        return cls(project, config, project.start(*arguments, config=config))

    @classmethod
    def submit(cls, project: Project, *arguments: str, config: tuple[str, ...]) -> "Way":
        """Start one whose jobs are Slurm's."""
        process = project.start(*arguments, *PROFILE, config=config)
        return cls(project, config, process)

    def wait(self) -> None:
        code = self.process.wait(timeout=400)
        assert code == 0, self.output

    def end(self) -> None:
        """End a call that a failed test has left."""
        if self.process.poll() is None:
            kill_group(self.process, signal.SIGKILL)

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
    """Four calls at once, as a cluster is there for many; most of their time is waiting.

    In it, three of them are made on this machine, too: "sample here" is the same as "sample".
    """
    folder = tmp_path_factory.mktemp("ways")
    real_data = os.environ.get("IMAGEPIPE_REAL_DATA")
    names = ("sample", "two nodes", "members", *(("real",) if real_data else ()))
    projects = {name: Project.copy_to(folder / name) for name in names}
    archives = {name: project.directory / "kaggle" for name, project in projects.items()}
    write_coloured(archives["two nodes"])
    make_competition(archives["members"], train=400, test=20)
    # A node has two GPUs for Slurm, and none for PyTorch. Members without can run five at once.
    configs = {
        "sample": ("override={epochs: 1}",),
        "two nodes": (*KAGGLE, SMOOTH),
        "members": (*KAGGLE, override(epochs=8), "device=cpu", "members=5"),
        "real": (*KAGGLE, override(epochs=1), "device=cpu"),
    }
    if real_data:
        make_kaggle(Path(real_data), archives["real"], "--train", "2000", "--test", "500")
    members = results_of(override(epochs=8))
    targets = {
        # Alone, with figures and report.
        "sample": ["submission.csv"],
        "two nodes": trained(results_of(SMOOTH)),
        "members": [f"{members}/seed{seed}/final/model.safetensors" for seed in range(5)],
        "real": trained(results_of(override(epochs=1))),
    }
    ways: dict[str, Way] = {}
    try:
        for name, project in projects.items():
            nodes = ("train:nodes=2", "retrain:nodes=2") if name == "two nodes" else ()
            config = (PACKED, *configs[name])
            ways[name] = Way.submit(project, *targets[name], *one_thread(*nodes), config=config)
        for name in set(names) - {"members"}:
            here = Project.copy_to(folder / f"{name} here")
            if archives[name].exists():
                shutil.copytree(archives[name], here.directory / "kaggle")
            local = trained(SAMPLE) if name == "sample" else targets[name]
            arguments = (*local, *one_thread())
            ways[f"{name} here"] = Way.start(here, *arguments, config=ways[name].config)
        yield ways
    finally:
        for way in ways.values():
            way.end()


def assert_same_bytes(one: Project, other: Project, results: str) -> None:
    for path in trained(results):
        assert one.read(path) == other.read(path), path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def log_text(log: Path) -> str:
    return text_since(log, 0.0) or ""


def test_whatever_the_cluster_does_the_bytes_are_the_same(
    slurm: LocalSlurm, ways: dict[str, Way], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # The first of the tests: while it waits, the others' calls come to their ends.
    undisturbed, project = (Project.copy_to(tmp_path / name) for name in ("one", "other"))
    for each in (undisturbed, project):
        make_competition(each.directory / "kaggle", train=400, test=20)
    trouble = one_thread(f"train:slurm_partition={TROUBLED}")
    config = (PACKED, *KAGGLE, "checkpoint_minutes=0.005", override(epochs=280))
    results = results_of(override(epochs=280))
    outputs = [
        f"{results}/seed0/train/{name}" for name in ("model.safetensors", "valid_logits.npz")
    ]
    saved = project.directory / results / "seed0/.checkpoint/train" / checkpoint.FILE_NAME
    log = project.directory / results.replace("results", "logs", 1) / "seed0/train.log"

    def training_job() -> int:
        """Wait until a training saves from now on, and return the number of its job."""
        since = time.time() + 1
        wait_until(lambda: saved.is_file() and saved.stat().st_mtime > since, 180)
        (job,) = slurm.running("train", TROUBLED)
        return job

    undisturbed_way = Way.start(undisturbed, outputs[0], *one_thread(), config=config)
    way = Way.submit(project, outputs[0], *trouble, config=config)
    for each_way in (undisturbed_way, way):
        request.addfinalizer(each_way.end)
    first = training_job()

    # A job that is cancelled is submitted anew.
    call("scancel", str(first))
    wait_until(lambda: not slurm.running("train", TROUBLED), 60)
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
    urgent = ("sbatch", "--parsable", "-p", URGENT, "-N2", "--exclusive", "-o", "/dev/null")
    call(*urgent, "--wrap", "sleep 3")
    wait_until(lambda: not slurm.running("train", TROUBLED), 60)
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
    wait_until(lambda: third not in slurm.running("train", TROUBLED), 90)
    assert [job.state for job in slurm.finished() if job.number == third] == ["TIMEOUT"]
    fourth = training_job()
    assert fourth != third
    assert "carry on after epoch" in log.read_text()
    assert way.process.poll() is None

    # And when all are gone, the next call carries on.
    kill_group(way.process, signal.SIGKILL)
    call("scancel", f"--partition={TROUBLED}")
    wait_until(lambda: call("squeue", "-h", "-p", TROUBLED) == "", 60)
    assert not (project.directory / outputs[0]).exists()
    assert project.run("--unlock", config=config).code == 0
    way = Way.submit(project, outputs[0], *trouble, config=config)
    request.addfinalizer(way.end)
    way.wait()
    assert "carry on after epoch" in log.read_text()
    undisturbed_way.wait()
    for output in outputs:
        assert project.read(output) == undisturbed.read(output), output


def test_the_whole_way_gives_the_bytes_of_the_local_run(ways: dict[str, Way]) -> None:
    way, here = ways["sample"], ways["sample here"]
    way.wait()
    here.wait()
    # data, train, retrain, predict, augmentation and saliency
    assert way.output.count("submitted with SLURM jobid") == 6
    assert_same_bytes(here.project, way.project, SAMPLE)
    again = way.project.run("submission.csv", *PROFILE, config=way.config, cores=None)
    assert "Nothing to be done" in again.output


@pytest.mark.realdata
def test_real_images_give_the_bytes_of_the_local_run(ways: dict[str, Way]) -> None:
    way, here = ways["real"], ways["real here"]
    way.wait()
    here.wait()
    assert_same_bytes(here.project, way.project, results_of(override(epochs=1)))
    assert len(rows(here.project.directory / "results/cifar10/submission.csv")) == 500


def test_five_members_run_side_by_side_on_two_nodes(
    slurm: LocalSlurm, ways: dict[str, Way]
) -> None:
    way = ways["members"]
    way.wait()
    numbers = way.submitted("Train fast@.*, seed ., on all")
    assert len(numbers) == 5
    jobs = [job for job in slurm.finished() if job.number in numbers]
    assert [job.state for job in jobs] == ["COMPLETED"] * 5
    assert max(job.start for job in jobs) < min(job.end for job in jobs)
    assert {job.nodes for job in jobs} == {"n1", "n2"}


def test_a_training_on_two_nodes_comes_to_the_same_as_on_one(
    slurm: LocalSlurm, ways: dict[str, Way]
) -> None:
    way, here = ways["two nodes"], ways["two nodes here"]
    way.wait()
    here.wait()
    one, two = (each.project.directory for each in (here, way))
    numbers = way.submitted("Train")
    jobs = [job for job in slurm.finished() if job.number in numbers]
    assert [job.nodes for job in jobs] == ["n[1-2]"] * 2
    results = results_of(SMOOTH)
    log = two / results.replace("results", "logs", 1) / "seed0/train.log"
    assert "1 threads in each of 2 processes" in log.read_text()
    for stage in ("train", "final"):
        history = f"{results}/seed0/{stage}/history.csv"
        for alone, together in zip(rows(one / history), rows(two / history), strict=True):
            loss = float(alone["train_loss"])
            assert float(together["train_loss"]) == pytest.approx(loss, rel=1e-4)
    answers = [rows(folder / "results/cifar10/submission.csv") for folder in (one, two)]
    same = [a == b for a, b in zip(*answers, strict=True)]
    assert len(same) == 1000
    assert sum(same) >= 999
    # They are not the same because nothing was learned.
    assert {row["label"] for row in answers[1]} == set(CLASSES)
    assert float(rows(two / f"{results}/seed0/final/history.csv")[-1]["train_accuracy"]) > 0.9


def write_coloured(folder: Path) -> None:
    """Write the competition's files, of 300 and 1,000 images that are easily told apart."""
    images, numbers = colored(1300, size=32)
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
