"""The workflow through a real Slurm on this machine, with the profile as it is shipped."""

import csv
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders import make_competition
from imagepipe import checkpoint
from local_slurm import CORES_PER_NODE, LocalSlurm, call, wait_until
from project import Project, kill_group, text_since

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

# The profile, looking for what has become of its jobs more often than a cluster would like, and by
# `squeue`, as this Slurm has no accounting.
PROFILE = (
    *("--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"),
    *("--latency-wait", "20"),
)
ONE_THREAD = ("data_threads=1", "training_threads=1", "training_mem_mb=2000", "layout=packed")
RESULTS = "results/cifar10/fast"
FINAL = f"{RESULTS}/seed0/final"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSlurm]:
    slurm = LocalSlurm(tmp_path_factory.mktemp("slurm"))
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


def override(epochs: int, width: int = 8) -> str:
    return (
        f"override={{epochs: {epochs}, batch_size: 10, test_time_augmentation: none, precision: fp32, "
        f"least_steps_per_epoch: 1, freeze: [], model: {{name: small_cnn, width: {width}}}}}"
    )


def prepared(parent: Path, train: int, test: int = 20) -> Project:
    project = Project.copy_to(parent)
    (project.directory / "kaggle").mkdir()
    make_competition(project.directory / "kaggle", train=train, test=test)
    return project


def config_of(*more: str) -> tuple[str, ...]:
    return ("dataset=cifar10", "raw_dir=kaggle", *ONE_THREAD, *more)


def run_on(slurm: LocalSlurm, project: Project, config: tuple[str, ...], *more: str) -> str:
    """Run the whole way through Slurm, and return what Snakemake printed."""
    result = project.run("submission.csv", *PROFILE, *more, config=config, cores=None)
    assert result.code == 0, result.output
    return result.output


def run_here(project: Project, config: tuple[str, ...]) -> None:
    result = project.run("submission.csv", config=config)
    assert result.code == 0, result.output


def assert_same_bytes(one: Project, other: Project, *paths: str) -> None:
    for path in ("submission.csv", *paths):
        assert one.read(path) == other.read(path), path


def test_the_whole_way_gives_the_bytes_of_the_local_run(slurm: LocalSlurm, tmp_path: Path) -> None:
    here, there = (Project.copy_to(tmp_path / name) for name in ("here", "there"))
    config = (*ONE_THREAD, "override={epochs: 1}")
    output = run_on(slurm, there, config)
    assert output.count("submitted with SLURM jobid") == 4  # data, train, retrain, predict
    run_here(here, config)
    results = "results/sample/fast/seed0"
    assert_same_bytes(
        here, there, f"{results}/train/model.safetensors", f"{results}/final/model.safetensors"
    )
    assert "Nothing to be done" in run_on(slurm, there, config)


@pytest.mark.realdata
def test_real_images_give_the_bytes_of_the_local_run(
    slurm: LocalSlurm, tmp_path: Path, real_data: Path
) -> None:
    from test_real_images import make_kaggle

    make_kaggle(real_data, tmp_path / "archives", "--train", "2000", "--test", "500")
    here, there = (Project.copy_to(tmp_path / name) for name in ("here", "there"))
    config = (
        *("dataset=cifar10", f"raw_dir={tmp_path / 'archives'}", *ONE_THREAD),
        "override={epochs: 1, least_steps_per_epoch: 1}",
    )
    run_on(slurm, there, config)
    run_here(here, config)
    assert_same_bytes(here, there, f"{FINAL}/model.safetensors")


def test_five_members_run_side_by_side_on_two_nodes(slurm: LocalSlurm, tmp_path: Path) -> None:
    project = prepared(tmp_path, train=400)
    # Without GPUs, of which a node here has one.
    config = config_of("device=cpu", "members=5", override(epochs=8))
    before = len(slurm.finished())
    process = project.start("submission.csv", *PROFILE, config=config)
    wait_until(lambda: len(slurm.running("retrain")) == 5, 240)
    assert {slurm.node_of(job) for job in slurm.running("retrain")} == {"n1", "n2"}
    assert process.wait(timeout=240) == 0
    jobs = slurm.finished()[before:]
    assert [job.state for job in jobs] == ["COMPLETED"] * 12  # data, train, five of the other two


def test_whatever_the_cluster_does_the_bytes_are_the_same(
    slurm: LocalSlurm, tmp_path: Path
) -> None:
    undisturbed, project = (prepared(tmp_path / name, train=400) for name in ("one", "other"))
    config = config_of("checkpoint_minutes=0.005", override(epochs=150))
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

    process = project.start(outputs[0], *PROFILE, config=config)
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
    assert undisturbed.run(outputs[0], config=config).code == 0
    for output in outputs:
        assert project.read(output) == undisturbed.read(output), output


def test_a_training_on_two_nodes_comes_to_the_same_as_on_one(
    slurm: LocalSlurm, tmp_path: Path
) -> None:
    one, two = (prepared(tmp_path / name, train=400, test=1000) for name in ("one", "two"))
    sgd = "optimizer: {name: sgd, lr: 0.05, momentum: 0.9}, loss: {reduction: mean}"
    config = config_of(override(epochs=5).replace("freeze", f"{sgd}, freeze"))
    run_here(one, config)
    before = len(slurm.finished())
    # Each node has one GPU for Slurm, and none for PyTorch.
    run_on(slurm, two, (*config, "nodes_per_run=2"))
    jobs = slurm.finished()[before:]
    assert [job.nodes for job in jobs if job.nodes == "n[1-2]"] == ["n[1-2]"] * 2  # train, retrain
    log = two.directory / "logs/cifar10/fast/seed0/train.log"
    assert "1 threads in each of 2 processes" in log.read_text()
    for stage in ("train", "final"):
        path = Path(RESULTS) / "seed0" / stage / "history.csv"
        pairs = zip(rows(one.directory / path), rows(two.directory / path), strict=True)
        for alone, together in pairs:
            assert float(together["train_loss"]) == pytest.approx(
                float(alone["train_loss"]), rel=1e-4
            )
    answers = [rows(project.directory / "submission.csv") for project in (one, two)]
    same = [a == b for a, b in zip(*answers, strict=True)]
    assert sum(same) / len(same) >= 0.999
    assert len({row["label"] for row in answers[0]}) > 1


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def log_text(log: Path) -> str:
    return text_since(log, 0.0) or ""
