"""`imagepipe watch` beside real runs: it shows them, and does not change them."""

import csv
import signal
import threading
from pathlib import Path

import pytest

from builders import make_competition
from imagepipe.watch.server import PageServer
from project import Project, kill_group, run_of
from pseudo_terminal import PseudoTerminal
from watch_builders import WATCH

# Long enough to be watched.
EPOCHS = 20
SMALL = "batch_size: 10, min_steps_per_epoch: 1, freeze: [], model: {name: small_cnn, width: 8}"
OVERRIDE = f"override={{epochs: {EPOCHS}, {SMALL}}}"
TOO_FAST = f"override={{epochs: 2, optimizer: {{name: sgd, lr: 1e+30}}, {SMALL}}}"
DATASET = ("dataset=cifar10", "raw_dir=kaggle")
SAME_BYTES = ("model.safetensors", "valid_logits.npz")
TIMES = ("seconds", "examples_per_second")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose next stage is the training."""
    project = Project.copy_to(tmp_path_factory.mktemp("packed"))
    raw = project.directory / "kaggle"
    raw.mkdir()
    make_competition(raw, train=200, test=12)
    result = project.run("compare", "split", "form", config=DATASET)
    assert result.code == 0, result.output
    return project


def results_of(override: str) -> str:
    return f"results/cifar10/{run_of(override)}/seed0/train"


def history(project: Project) -> list[dict[str, str]]:
    """Return the rows of history.csv without the times."""
    with (project.directory / results_of(OVERRIDE) / "history.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def ask_until(server: PageServer, is_over: threading.Event) -> None:
    """Ask for the page's data as a browser does."""
    while not is_over.wait(0.5):
        assert b"trainings" in server.data()


def test_a_run_that_is_watched_is_shown_to_its_end_and_has_the_same_bytes(
    packed: Project, tmp_path: Path
) -> None:
    config = (*DATASET, OVERRIDE)
    target = f"{results_of(OVERRIDE)}/model.safetensors"
    alone, watched = (packed.copy(tmp_path / name) for name in ("alone", "watched"))
    result = alone.run(target, config=config)
    assert result.code == 0, result.output
    process = watched.start(target, config=config)
    with (
        PageServer(watched.directory, "127.0.0.1", 0) as server,
        PseudoTerminal(150, 40) as opened,
    ):
        opened.start([*WATCH, str(watched.directory)], tmp_path)
        is_over = threading.Event()
        browser = threading.Thread(target=lambda: ask_until(server, is_over))
        browser.start()
        try:
            opened.wait_for_words("▶ running", f"of {EPOCHS}", "accuracy", "valid 0.", seconds=120)
            assert process.poll() is None
            opened.wait_for_words("✓ finished", f"{EPOCHS}/{EPOCHS}", "1 finished", seconds=120)
        finally:
            is_over.set()
            browser.join()
        opened.type(b"q")
        assert opened.wait_for_end() == 0
    assert process.wait(timeout=60) == 0
    for name in SAME_BYTES:
        path = f"{results_of(OVERRIDE)}/{name}"
        assert watched.read(path) == alone.read(path), name
    assert history(watched) == history(alone)
    assert len(history(watched)) == EPOCHS


def test_a_training_that_is_stopped_and_one_that_fails_are_shown_with_their_closing_lines(
    packed: Project, tmp_path: Path
) -> None:
    project = packed.copy(tmp_path / "work")
    with PseudoTerminal(170, 40) as opened:
        opened.start([*WATCH, "."], project.directory)
        process = project.start(
            f"{results_of(OVERRIDE)}/model.safetensors", config=(*DATASET, OVERRIDE)
        )
        opened.wait_for_words("▶ running", f"of {EPOCHS}", seconds=120)
        kill_group(process, signal.SIGTERM)
        opened.wait_for_words("■ stopped", "stopped by SIGTERM after epoch", f"of {EPOCHS}")
        result = project.run(
            f"{results_of(TOO_FAST)}/model.safetensors", config=(*DATASET, TOO_FAST)
        )
        assert result.code == 1
        (error,) = result.errors
        screen = opened.wait_for_words("✗ failed", "1 failed, 1 stopped")
        shown = " ".join(screen.replace("\n", " ").split())
        assert error[:80] in shown
