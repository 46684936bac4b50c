"""The same bytes, wherever it runs and however often it is stopped, killed or its files damaged."""

import csv
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from builders import make_competition
from imagepipe.training import checkpoint
from project import Project, kill_group, run_of, text_since, trained

STOPS = int(os.environ.get("IMAGEPIPE_STOPS", "20"))
# Long enough that so many stops find the training under way.
EPOCHS = 10
IMAGES = 200 + 50 * STOPS
OVERRIDE = (
    f"override={{epochs: {EPOCHS}, batch_size: 10, test_time_augmentation: none, "
    "min_steps_per_epoch: 1, freeze: [], model: {name: small_cnn, width: 8}}"
)
CHECKPOINT_SECONDS = 0.5
CONFIG = (
    "dataset=cifar10",
    "raw_dir=kaggle",
    f"checkpoint_minutes={CHECKPOINT_SECONDS / 60}",
    OVERRIDE,
)
RUN = run_of(OVERRIDE)
RESULTS = f"results/cifar10/{RUN}/seed0"
LOGS = f"logs/cifar10/{RUN}/seed0"
SAME_BYTES = (
    *trained(f"results/cifar10/{RUN}"),
    f"{RESULTS}/train/valid_logits.npz",
    f"{RESULTS}/final/test_logits.npz",
)
STAGES = (("train", "train"), ("final", "retrain"))
# What no two runs share.
TIMES = ("seconds", "examples_per_second")


def prepared(parent: Path, train: int) -> Project:
    project = Project.copy_to(parent)
    raw = project.directory / "kaggle"
    raw.mkdir()
    make_competition(raw, train=train, test=20)
    return project


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose next stage is the training."""
    project = prepared(tmp_path_factory.mktemp("packed"), train=IMAGES)
    result = project.run("compare", "split", "form", config=CONFIG)
    assert result.code == 0, result.output
    return project


@pytest.fixture(scope="module")
def undisturbed(packed: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has run to its end without a stop."""
    project = packed.copy(tmp_path_factory.mktemp("undisturbed") / "work")
    result = project.run(*SAME_BYTES, config=CONFIG)
    assert result.code == 0, result.output
    return project


def history(project: Project, stage: str) -> list[dict[str, str]]:
    """Return the rows of a history, without the times."""
    with (project.directory / RESULTS / stage / "history.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def assert_same_results(one: Project, other: Project) -> None:
    for path in SAME_BYTES:
        assert one.read(path) == other.read(path), path
    for stage, _ in STAGES:
        assert len(history(one, stage)) == EPOCHS
        assert history(one, stage) == history(other, stage)
    assert not list(one.directory.rglob("checkpoint.pt*"))


def unlock(project: Project) -> None:
    """Do as snakemake itself asks its user to after a SIGKILL."""
    if list(project.directory.glob(".snakemake/locks/*")):
        assert project.run("--unlock", config=CONFIG).code == 0


def wait_for(process: "subprocess.Popen[bytes]", ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if ready():
            return
        time.sleep(0.02)
    raise AssertionError("it never came so far")


def has_epochs(path: Path, epochs: int) -> Callable[[], bool]:
    return lambda: path.is_file() and len(path.read_text().splitlines()) > epochs


def test_a_killed_training_carries_on_to_the_same_bytes(
    tmp_path: Path, packed: Project, undisturbed: Project
) -> None:
    killed = packed.copy(tmp_path / "work")
    for stage, epochs, number in (
        ("train", 2, signal.SIGKILL),
        ("train", 4, signal.SIGTERM),
        ("final", 1, signal.SIGINT),
    ):
        process = killed.start(*SAME_BYTES, config=CONFIG)
        wait_for(process, has_epochs(killed.directory / RESULTS / stage / "history.csv", epochs))
        kill_group(process, number)
        assert not (killed.directory / SAME_BYTES[0]).exists()
        unlock(killed)
    result = killed.run(*SAME_BYTES, config=CONFIG)
    assert result.code == 0, result.output
    assert "carry on after epoch" in result.output
    assert_same_results(killed, undisturbed)


def log_says(log: Path, words: str, since: float) -> Callable[[], bool]:
    return lambda: words in (text_since(log, since) or "")


def place_of_checkpoint(project: Project, stage: str) -> str | None:
    """Say, as the log would, how far the training in a checkpoint has come."""
    path = project.directory / RESULTS / ".checkpoint" / stage / checkpoint.FILE_NAME
    if not path.is_file():
        return None
    _, state = checkpoint.read(path)
    place = f"epoch {len(state['history'])} of {EPOCHS}"
    steps = len(state["loss_and_correct"])
    return f"{place} and step {steps} of " if steps else place


def seconds_lost(project: Project, stage: str, rule: str) -> float:
    """Return how long the training has run since its last checkpoint, or since its start."""
    log = project.directory / LOGS / f"{rule}.log"
    path = project.directory / RESULTS / ".checkpoint" / stage / checkpoint.FILE_NAME
    since = [file.stat().st_mtime for file in (log, path) if file.is_file()]
    return time.time() - max(since, default=time.time())


@pytest.mark.slow
@pytest.mark.parametrize(
    "signals", [(signal.SIGKILL,), (signal.SIGTERM, signal.SIGINT)], ids=["killed", "stopped"]
)
def test_stops_at_random_moments_leave_no_trace(
    signals: tuple[signal.Signals, ...], tmp_path: Path, packed: Project, undisturbed: Project
) -> None:
    moments = random.Random(0)
    project = packed.copy(tmp_path / "work")
    stops = carried_on = 0
    while stops < STOPS:
        stage, rule = STAGES[(project.directory / RESULTS / "train/model.safetensors").is_file()]
        before = place_of_checkpoint(project, stage)
        process = project.start(*SAME_BYTES, config=CONFIG)
        log = project.directory / LOGS / f"{rule}.log"
        wait_for(process, log_says(log, "train on", time.time()))
        longest = 2.5
        if stops % 3:
            # Two of three are stopped when they have carried on, or have something to carry on
            # from, the others maybe before that: so the count below is not left to chance.
            saved_file = project.directory / RESULTS / ".checkpoint" / stage / checkpoint.FILE_NAME
            wait_for(
                process, saved_file.is_file if before is None else log_says(log, "carry on", 0.0)
            )
            longest = 0.8
        # In loading, in a step, at the end of an epoch, while it saves.
        time.sleep(moments.uniform(0.0, longest))
        if stops < STOPS - 1:
            assert process.poll() is None, f"the training is too short for {STOPS} stops"
        text = log.read_text() if log.is_file() else ""
        if before is not None and "epoch" in text:
            # What was saved is what is carried on, and nothing of it is done again.
            assert f"carry on after {before}" in text
            carried_on += 1
        number = signals[stops % len(signals)]
        os.killpg(process.pid, signal.SIGSTOP)
        lost = seconds_lost(project, stage, rule)
        os.killpg(process.pid, number)
        os.killpg(process.pid, signal.SIGCONT)
        process.wait(timeout=120)
        # Loading PyTorch's optimisers and the last, unfinished save come on top.
        assert lost < CHECKPOINT_SECONDS + 5
        stops += 1
        if number is not signal.SIGKILL and "stopped by" in log.read_text():
            place = re.findall(r"stopped by \w+ after (.*); the same", log.read_text())[-1]
            saved = place_of_checkpoint(project, stage)
            assert saved is not None
            assert place.startswith(saved)
        unlock(project)
    assert carried_on >= STOPS // 2
    result = project.run(*SAME_BYTES, config=CONFIG)
    assert result.code == 0, result.output
    assert_same_results(project, undisturbed)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def swap(path: Path) -> None:
    """Put that of another recipe in its place."""
    checkpoint.save(path.parent, checkpoint.read(path)[1], "another recipe")


def interrupted(project: Project, config: tuple[str, ...]) -> Path:
    """Kill a run in its training, and return the checkpoint that it left."""
    process = project.start(*SAME_BYTES, config=config)
    path = project.directory / RESULTS / ".checkpoint" / "train" / checkpoint.FILE_NAME
    wait_for(process, path.is_file)
    kill_group(process, signal.SIGKILL)
    unlock(project)
    return path


@pytest.fixture(scope="module")
def stopped(packed: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was killed in its first epoch, in which it saved after each step."""
    project = packed.copy(tmp_path_factory.mktemp("stopped") / "work")
    every_step = (*(item for item in CONFIG if "minutes" not in item), "checkpoint_minutes=1e-6")
    interrupted(project, every_step)
    return project


@pytest.mark.slow
@pytest.mark.parametrize("damage", [truncate, empty, swap])
def test_a_damaged_or_foreign_checkpoint_is_set_aside_and_changes_nothing(
    damage: Callable[[Path], None], tmp_path: Path, stopped: Project, undisturbed: Project
) -> None:
    project = stopped.copy(tmp_path / "work")
    damage(project.directory / RESULTS / ".checkpoint" / "train" / checkpoint.FILE_NAME)
    model = f"{RESULTS}/train/model.safetensors"
    result = project.run(model, config=CONFIG)
    assert result.code == 0, result.output
    assert len(re.findall("is set aside as .* training starts anew", result.output)) == 1
    assert "carry on" not in result.output
    assert project.read(model) == undisturbed.read(model)
    assert history(project, "train") == history(undisturbed, "train")


@pytest.mark.parametrize(
    ("force", "anew"),
    [
        (("--forceall",), True),
        (("--forcerun", "train"), True),
        (("--forcerun", "retrain"), False),
        ((), False),
    ],
    ids=["forceall", "train forced", "another rule forced", "not forced"],
)
def test_a_forced_training_starts_anew(
    force: tuple[str, ...], anew: bool, tmp_path: Path, stopped: Project
) -> None:
    project = stopped.copy(tmp_path / "work")
    target = f"{RESULTS}/train/model.safetensors"
    result = project.run(target, *force, config=CONFIG)
    assert result.code == 0, result.output
    carried_on = f"carry on after epoch 0 of {EPOCHS} and step" in result.output
    assert carried_on != anew
    assert ("carry on" in result.output) == carried_on


def test_cores_and_folders_change_no_byte_at_equal_threads(tmp_path: Path) -> None:
    override = OVERRIDE.replace(f"epochs: {EPOCHS}", "epochs: 2")
    one, other = (prepared(tmp_path / name, train=200) for name in ("one", "the other"))
    config = (*CONFIG[:2], override)
    targets = [path.replace(RUN, run_of(override)) for path in SAME_BYTES]
    assert one.run(*targets, config=config, cores="1").code == 0
    # gpu=0 means the CPU, whatever the device asked for, and whether there is a GPU or not.
    result = other.run(
        *(*targets, "--resources", "gpu=0"),
        *("--set-threads", "train=1", "retrain=1", "predict=1"),
        config=(*config, "device=cuda"),
        cores="2",
    )
    assert result.code == 0, result.output
    assert "train on cpu" in result.output
    for path in targets:
        assert one.read(path) == other.read(path), path
