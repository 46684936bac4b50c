"""Several processes that share one training: shares, statistics, and the same result as one."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from imagepipe.distributed.processes import Processes
from imagepipe.errors import Stopped, UserError
from imagepipe.launch.launching import Failure, ended, explanation, run_training
from imagepipe.prediction.logits import read_predictions
from imagepipe.training.history import HISTORY_COLUMNS
from imagepipe.training.runs import Inputs, Machine, Outputs, Run
from training_builders import CLASSES, DEVIATIONS, MEANS, coloured, complete_recipe, write_packed


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("length", [1, 2, 7, 8, 125])
def test_shares_are_every_place_once(count: int, length: int) -> None:
    shares = [Processes(rank, count).share(10, 10 + length) for rank in range(count)]
    assert torch.equal(torch.cat(shares).sort().values, torch.arange(10, 10 + length))
    assert max(map(len, shares)) - min(map(len, shares)) <= 2


@pytest.mark.parametrize("length", [7, 8])
def test_a_share_holds_the_partners_of_its_images_in_the_order_of_mixing(length: int) -> None:
    for rank in range(3):
        share = Processes(rank, 3).share(0, length)
        assert torch.equal(share.flip(0), length - 1 - share)


def test_one_process_has_all_places_in_order() -> None:
    assert torch.equal(Processes().share(3, 8), torch.arange(3, 8))


@pytest.mark.parametrize("length", [0, 1, 5, 9])
def test_parts_are_a_range_one_after_the_other(length: int) -> None:
    numbers = list(range(length))
    parts = [numbers[Processes(rank, 4).part(length)] for rank in range(4)]
    assert [number for part in parts for number in part] == numbers


MIXED = {
    "model": {"name": "airbench", "widths": [4, 6, 8]},
    "augmentation": {
        "random_crop_padding": 1,
        "horizontal_flip": True,
        "alternating_flip": True,
        "cutmix": 1.0,
    },
    "progressive_resizing": [{"until": 0.4, "scale": 0.75}],
    "optimizer": {"name": "muon", "lr": 0.05, "rest": {"lr": 0.01, "head_lr": 0.1}},
    "freeze": [{"parameters": "whitening", "after": 0.5}],
    "loss": {"reduction": "sum", "label_smoothing": 0.1},
    "averaging": {"name": "lookahead", "decay": 0.9, "every": 2},
    "test_time_augmentation": "flip_and_shift",
}
PLAIN = {"schedule": {"name": "cosine"}, "optimizer": {"lr": 0.05, "nesterov": True}}


@pytest.fixture
def packed(tmp_path: Path) -> Inputs:
    """45 images of 12 pixels, of which 9 are for validation; the last batch of 8 has 4 images."""
    images, labels = coloured(45, size=12)
    splits = ["valid" if row % 5 == 0 else "train" for row in range(45)]
    write_packed(tmp_path, images.numpy(), [CLASSES[label] for label in labels], splits)
    return inputs_in(tmp_path)


def inputs_in(folder: Path) -> Inputs:
    return Inputs(
        *(folder / n for n in ("labelled.npy", "labelled.csv", "classes.txt", "split.csv"))
    )


def outputs_in(folder: Path) -> Outputs:
    folder.mkdir(exist_ok=True)
    names = ("model.safetensors", "history.csv", "metrics.json", "run.yaml", "valid_logits.npz")
    return Outputs(*(folder / name for name in names))


def train_by(
    processes: int, packed: Inputs, folder: Path, recipe: dict[str, Any], **machine: Any
) -> None:
    """Train on the CPU, one thread for each process, with all that is written in `folder`."""
    run_training(
        Run(
            "mine",
            packed,
            outputs_in(folder),
            {
                "recipe": complete_recipe(**recipe),
                "seed": 0,
                "channel_means": MEANS,
                "channel_deviations": DEVIATIONS,
            },
            "code",
            folder / "checkpoint",
            Machine(
                **{
                    "device": "cpu",
                    "gpus": 0,
                    "threads": processes,
                    "checkpoint_minutes": 5,
                    "processes_per_node": processes,
                }
                | machine
            ),
        )
    )


def figures(folder: Path) -> np.ndarray:
    """Return losses and accuracies of all epochs."""
    table = np.genfromtxt(folder / "history.csv", delimiter=",", skip_header=1, ndmin=2)
    columns = [HISTORY_COLUMNS.index(f"{name}") for name in ("train_loss", "train_accuracy")]
    return table[:, [*columns, HISTORY_COLUMNS.index("valid_accuracy")]]


@pytest.mark.parametrize("recipe", [PLAIN, MIXED], ids=["plain", "mixed"])
def test_two_processes_train_as_one_does(
    recipe: dict[str, Any], packed: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    one, two = tmp_path / "one", tmp_path / "two"
    train_by(1, packed, one, recipe)
    train_by(2, packed, two, recipe)
    np.testing.assert_allclose(figures(two), figures(one), rtol=1e-4)
    weights = [load_file(folder / "model.safetensors") for folder in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=2e-3, atol=2e-4, msg=name)
    logits = [read_predictions(folder / "valid_logits.npz").logits for folder in (one, two)]
    np.testing.assert_allclose(logits[1], logits[0], rtol=1e-2, atol=1e-3)
    assert json.loads((two / "metrics.json").read_text())["epochs"] == 3
    assert not (two / "checkpoint").exists()
    assert not any(temporary.iterdir())


def test_more_processes_than_a_batch_has_images_train_too(packed: Inputs, tmp_path: Path) -> None:
    recipe = PLAIN | {"batch_size": 35, "epochs": 1, "drop_last": False}
    train_by(1, packed, tmp_path / "one", recipe)
    # The second batch has one image, and so the first of the two processes none.
    train_by(2, packed, tmp_path / "two", recipe)
    np.testing.assert_allclose(figures(tmp_path / "two"), figures(tmp_path / "one"), rtol=1e-4)


@pytest.mark.parametrize(("batch_size", "micro_batch_size"), [(15, 7), (2, None)])
def test_processes_go_through_a_batch_in_as_many_parts(
    packed: Inputs, tmp_path: Path, batch_size: int, micro_batch_size: int | None
) -> None:
    """Of 15 images they have 8 and 7, and of 2 all and none: no one may end before the other."""
    sizes = {"batch_size": batch_size, "micro_batch_size": micro_batch_size}
    train_by(2, packed, tmp_path / "two", PLAIN | sizes | {"epochs": 2})
    assert len(figures(tmp_path / "two")) == 2


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_measured_is_measured_by_the_first_process_for_all(
    tmp_path: Path, count: int
) -> None:
    script = """
import sys
import torch.distributed as dist
from imagepipe.distributed.processes import Processes
rank, count, place = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if count > 1:
    dist.init_process_group("gloo", f"file://{place}", rank=rank, world_size=count)
print(*Processes(rank, count).of_first(lambda: (f"bf16 by {rank}", "measured")))
"""
    paths = os.pathsep.join(path for path in sys.path if path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(rank), str(count), str(tmp_path / "place")],
            env=os.environ | {"PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert said == ["bf16 by 0 measured\n"] * count


@pytest.mark.parametrize("length", range(1, 40))
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_largest_share_is_that_of_the_process_that_has_most(length: int, count: int) -> None:
    shares = [len(Processes(rank, count).share(0, length)) for rank in range(count)]
    assert Processes(0, count).largest_share(length) == max(shares)


def test_fewer_validation_images_than_processes(packed: Inputs, tmp_path: Path) -> None:
    assert packed.split is not None
    split = packed.split.read_text().replace(",valid", ",train").replace(",train", ",valid", 1)
    packed.split.write_text(split)
    train_by(2, packed, tmp_path / "two", PLAIN)
    assert len(read_predictions(tmp_path / "two" / "valid_logits.npz").ids) == 1


def test_a_mistake_of_the_user_is_said_as_by_one_process(packed: Inputs, tmp_path: Path) -> None:
    recipe = PLAIN | {"freeze": [{"parameters": "nothing", "after": 0.5}]}
    messages = []
    for processes in (1, 2):
        with pytest.raises(UserError) as caught:
            train_by(processes, packed, tmp_path / str(processes), recipe)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


TRAIN = """
import json, sys
from pathlib import Path
from imagepipe.errors import Stopped, UserError
from test_processes import inputs_in, train_by
folder, processes, recipe = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
packed = inputs_in(folder)
try:
    train_by(processes, packed, folder / "run", recipe)
except (Stopped, UserError) as error:
    print(type(error).__name__, error)
"""
# At such a rate, and without a ReLU, whose bend rounding can cross, rounding does not grow.
SMOOTH = {"name": "airbench", "widths": [8, 8, 8]}
LONG = PLAIN | {"model": SMOOTH, "epochs": 60, "optimizer": {"lr": 0.002}}


def start(folder: Path, processes: int) -> "subprocess.Popen[str]":
    """Begin a long training in a process of its own."""
    paths = ":".join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(folder), str(processes), json.dumps(LONG)],
        env={"PYTHONPATH": f"{Path(__file__).parent}:{paths}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def epochs_done(folder: Path) -> int:
    history = folder / "run" / "history.csv"
    return len(history.read_text().splitlines()) - 1 if history.exists() else 0


def training_processes(folder: Path) -> list[int]:
    """Return the numbers of the system's processes that take part in a training."""
    found = subprocess.run(
        ["pgrep", "-f", f"imagepipe.launch.training_process {folder}"],
        capture_output=True,
        text=True,
    )
    return [int(number) for number in found.stdout.split()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_stops_all_and_another_number_of_processes_carries_on(
    number: signal.Signals,
    packed: Inputs,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = start(tmp_path, processes=2)
    wait_until(lambda: epochs_done(tmp_path) >= 3)
    job.send_signal(number)
    said, _ = job.communicate(timeout=60)
    assert said.startswith(f"Stopped stopped by {number.name} after epoch")
    assert not training_processes(tmp_path)
    assert epochs_done(tmp_path) < 60
    place = said.partition(" after ")[2].partition(";")[0]
    with caplog.at_level(logging.INFO):
        train_by(1, packed, tmp_path / "run", LONG)
    assert f"carry on after {place}" in caplog.messages
    train_by(1, packed, tmp_path / "whole", LONG)
    np.testing.assert_allclose(
        figures(tmp_path / "run"), figures(tmp_path / "whole"), rtol=1e-2, atol=1e-3
    )


def test_a_signal_before_the_training_has_begun_is_no_mistake(
    packed: Inputs, tmp_path: Path
) -> None:
    job = start(tmp_path, processes=2)
    wait_until((tmp_path / "run" / "checkpoint" / "processes" / "run.json").exists)
    time.sleep(0.3)
    job.send_signal(signal.SIGTERM)
    said, _ = job.communicate(timeout=60)
    assert said.startswith("Stopped stopped by SIGTERM")
    assert not training_processes(tmp_path)


DEAF = """
import signal, sys, time
from pathlib import Path
from imagepipe.launch.launching import run_command
wait = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(100)"
signal.signal(signal.SIGINT, signal.default_int_handler)
print("up", flush=True)
run_command([sys.executable, "-c", wait], Path(sys.argv[1]))
"""


def test_a_second_ctrl_c_kills_what_does_not_heed_the_first(tmp_path: Path) -> None:
    paths = ":".join(path for path in sys.path if path)
    job = subprocess.Popen(
        [sys.executable, "-c", DEAF, str(tmp_path)],
        env={"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert job.stdout is not None
    assert job.stdout.readline() == "up\n"
    for _ in range(2):
        time.sleep(1)
        assert job.poll() is None
        job.send_signal(signal.SIGINT)
    job.wait(timeout=20)
    assert subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True).returncode == 1


@pytest.mark.parametrize("which", [0, 1])
def test_a_process_that_is_killed_ends_all_with_one_line(
    which: int, packed: Inputs, tmp_path: Path
) -> None:
    job = start(tmp_path, processes=2)
    wait_until(lambda: epochs_done(tmp_path) >= 3)
    subprocess.run(["kill", "-9", str(sorted(training_processes(tmp_path))[which])], check=True)
    said, _ = job.communicate(timeout=60)
    assert said.startswith(f"UserError process {which} of 2 was ended by SIGKILL")
    assert said.count("\n") == 1
    assert not training_processes(tmp_path)
    assert (tmp_path / "run" / "checkpoint" / "checkpoint.pt").exists()
    assert not (tmp_path / "run" / "checkpoint" / "processes").exists()


def test_no_process_outlives_a_job_that_is_killed(packed: Inputs, tmp_path: Path) -> None:
    job = start(tmp_path, processes=2)
    wait_until(lambda: epochs_done(tmp_path) >= 1)
    assert len(training_processes(tmp_path)) == 2
    job.kill()
    job.communicate()
    wait_until(lambda: not training_processes(tmp_path))


SRUN = f"""#!{sys.executable}
import os, subprocess, sys
# Otherwise each node would give its task one core.
assert "--cpus-per-task=1" in sys.argv
nodes = int(next(a for a in sys.argv if a.startswith("--nodes=")).partition("=")[2])
command = sys.argv[next(i for i, a in enumerate(sys.argv) if i and not a.startswith("-")) :]
tasks = [
    subprocess.Popen(command, env=os.environ | {{"SLURM_PROCID": str(number)}})
    for number in range(nodes)
]
sys.exit(max(task.wait() for task in tasks))
"""


def test_nodes_that_srun_starts_train_as_one_process_does(
    packed: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "srun").write_text(SRUN)
    (programs / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    train_by(1, packed, tmp_path / "one", PLAIN)
    train_by(1, packed, tmp_path / "two", PLAIN, nodes=2)
    np.testing.assert_allclose(figures(tmp_path / "two"), figures(tmp_path / "one"), rtol=1e-4)


def test_several_nodes_need_slurm(
    packed: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UserError, match="nodes_per_run: is 2, but this is no Slurm job"):
        train_by(1, packed, tmp_path / "run", PLAIN, nodes=2)


@pytest.mark.parametrize(
    ("failures", "asked", "kind", "words"),
    [
        ([Failure(1, "user", "u"), Failure(0, "lost", "l")], None, UserError, "u"),
        (
            [Failure(0, "lost", "l"), ended(1, 2, -9)],
            None,
            UserError,
            "process 1 of 2 was ended by",
        ),
        ([Failure(0, "stopped", "s", 15), ended(1, 2, -9)], None, UserError, "process 1 of 2 was"),
        ([Failure(0, "stopped", "s", 15), Failure(1, "lost", "l")], SIGTERM, Stopped, "s"),
        ([Failure(0, "stopped", "s", 15), ended(1, 2, -9)], SIGTERM, Stopped, "s"),
        ([Failure(0, "lost", "l"), ended(1, 2, -9)], SIGTERM, Stopped, "stopped by SIGTERM; the"),
        ([], SIGTERM, Stopped, "stopped by SIGTERM; the same command carries on"),
        ([Failure(0, "lost", "l"), Failure(1, "mistake", "m")], None, RuntimeError, "process 1: m"),
        (
            [Failure(0, "lost", "l"), Failure(1, "lost", "l")],
            None,
            UserError,
            "the processes of the",
        ),
        ([], None, RuntimeError, "the processes did not start: last words"),
    ],
)
def test_the_cause_is_told_and_not_what_follows_from_it(
    failures: list[Failure], asked: signal.Signals | None, kind: type[Exception], words: str
) -> None:
    found = explanation(failures, asked, "last words")
    assert type(found) is kind
    assert str(found).startswith(words)


def test_statistics_of_one_process_are_left_to_torch() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3))
    assert Processes().share_statistics(model) is model
    assert type(model[0]) is nn.BatchNorm2d
