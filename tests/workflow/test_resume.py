"""The same bytes, wherever it runs and however often it is killed."""

import signal
import subprocess
import time
from pathlib import Path

from builders import make_competition
from project import Project, kill_group

EPOCHS = 6
OVERRIDE = (
    f"override={{epochs: {EPOCHS}, batch_size: 10, test_time_augmentation: none, "
    "model: {name: small_cnn, width: 8}}"
)
CONFIG = ("dataset=cifar10", "raw_dir=kaggle", OVERRIDE)
RESULTS = "results/cifar10/fast/seed0"
SAME_BYTES = (
    "submission.csv",
    f"{RESULTS}/train/model.safetensors",
    f"{RESULTS}/train/valid_logits.npz",
    f"{RESULTS}/final/model.safetensors",
    f"{RESULTS}/final/test_logits.npz",
)


def prepared(parent: Path) -> Project:
    project = Project.copy_to(parent)
    raw = project.directory / "kaggle"
    raw.mkdir()
    make_competition(raw, train=1200, test=20)
    return project


def wait_for_epochs(process: "subprocess.Popen[bytes]", history: Path, epochs: int) -> None:
    """Wait until a history has a row for so many epochs."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if history.is_file() and len(history.read_text().splitlines()) > epochs:
            return
        time.sleep(0.02)
    raise AssertionError(f"{history} never had {epochs} epochs")


def test_a_killed_training_carries_on_to_the_same_bytes(tmp_path: Path) -> None:
    undisturbed = prepared(tmp_path / "undisturbed")
    result = undisturbed.run("submission.csv", config=CONFIG)
    assert result.code == 0, result.output

    killed = prepared(tmp_path / "killed")
    for stage, epochs, number in (
        ("train", 2, signal.SIGKILL),
        ("train", 4, signal.SIGTERM),
        ("final", 1, signal.SIGKILL),
    ):
        process = killed.start("submission.csv", config=CONFIG)
        wait_for_epochs(process, killed.directory / RESULTS / stage / "history.csv", epochs)
        kill_group(process, number)
        assert not (killed.directory / "submission.csv").exists()
        if list(killed.directory.glob(".snakemake/locks/*")):
            # As snakemake itself asks its user to do after a SIGKILL.
            assert killed.run("--unlock", config=CONFIG).code == 0
    result = killed.run("submission.csv", config=CONFIG)
    assert result.code == 0, result.output
    assert "carry on after epoch" in result.output

    for path in SAME_BYTES:
        assert killed.read(path) == undisturbed.read(path), path
    assert not list(killed.directory.rglob("checkpoint.pt*"))
