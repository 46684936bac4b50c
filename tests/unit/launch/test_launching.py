"""Trainings in several processes: signals, processes that die, and nodes."""

import json
import logging
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
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from imagepipe.errors import Stopped, UserError
from imagepipe.launch.launching import WorkerFailure, cause, run_training
from process_builders import (
    PLAIN,
    assert_same_but_for_rounding,
    figures,
    inputs_in,
    run_in,
    write_inputs,
)


@pytest.fixture(autouse=True)
def inputs(tmp_path: Path) -> None:
    write_inputs(tmp_path)


def train_by(processes: int, folder: Path, recipe: dict[str, Any], **machine: Any) -> None:
    """Train on the inputs beside `folder`, in which all results are written."""
    run_training(run_in(folder, inputs_in(folder.parent), recipe, processes, **machine))


def test_two_processes_leave_the_results_of_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    train_by(1, tmp_path / "one", PLAIN)
    with caplog.at_level(logging.INFO):
        train_by(2, tmp_path / "two", PLAIN)
    assert_same_but_for_rounding(tmp_path / "two", tmp_path / "one")
    assert json.loads((tmp_path / "two" / "metrics.json").read_text())["epochs"] == 3
    assert not (tmp_path / "two" / "checkpoint").exists()
    assert not any(temporary.iterdir())
    assert any("1 threads in each of 2 processes" in message for message in caplog.messages)
    assert sum(message.startswith("epoch 3/3: train loss") for message in caplog.messages) == 1


def test_a_mistake_of_the_user_is_reported_as_by_one_process(tmp_path: Path) -> None:
    recipe = PLAIN | {"freeze": [{"parameters": "nothing", "after": 0.5}]}
    messages = []
    for processes in (1, 2):
        with pytest.raises(UserError) as caught:
            train_by(processes, tmp_path / str(processes), recipe)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


TRAIN = """
import json, sys
from pathlib import Path
from imagepipe.errors import Stopped, UserError
from test_launching import train_by
folder, processes, recipe = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
try:
    train_by(processes, folder / "run", recipe)
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


def processes_of(folder: Path, options: str = "") -> list[int]:
    """Return the ids of torchrun and its workers, or of those with some of Python's options."""
    pattern = f"{options} -m imagepipe.launch.training_process {folder}"
    found = subprocess.run(["pgrep", "-f", "--", pattern], capture_output=True, text=True)
    return [int(number) for number in found.stdout.split()]


def workers_of(folder: Path) -> list[int]:
    """Return the ids of the processes that take part in a training."""
    return processes_of(folder, options="python[^ ]* -u")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The figures of the long training by one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_inputs(folder)
    train_by(1, folder / "run", LONG)
    return figures(folder / "run")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_stops_all_and_another_number_of_processes_carries_on(
    number: signal.Signals,
    tmp_path: Path,
    undisturbed: np.ndarray,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = start(tmp_path, processes=2)
    wait_until(lambda: epochs_done(tmp_path) >= 3)
    job.send_signal(number)
    said, _ = job.communicate(timeout=60)
    assert said.startswith(f"Stopped stopped by {number.name} after epoch")
    assert not processes_of(tmp_path)
    assert epochs_done(tmp_path) < 60
    place = said.partition(" after ")[2].partition(";")[0]
    with caplog.at_level(logging.INFO):
        train_by(1, tmp_path / "run", LONG)
    assert f"carry on after {place}" in caplog.messages
    np.testing.assert_allclose(figures(tmp_path / "run"), undisturbed, rtol=1e-2, atol=1e-3)


def test_a_signal_before_the_training_has_begun_is_no_mistake(tmp_path: Path) -> None:
    job = start(tmp_path, processes=2)
    wait_until((tmp_path / "run" / "checkpoint" / "processes" / "run.json").exists)
    time.sleep(0.3)
    job.send_signal(signal.SIGTERM)
    said, _ = job.communicate(timeout=60)
    assert said.startswith("Stopped stopped by SIGTERM")
    assert not processes_of(tmp_path)


DEAF = """
import signal, sys, time
from pathlib import Path
from imagepipe.launch.launching import run_command
wait = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(100)"
signal.signal(signal.SIGINT, signal.default_int_handler)
print("up", flush=True)
run_command([sys.executable, "-c", wait], Path(sys.argv[1]) / "errors")
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
def test_a_process_that_is_killed_ends_all_with_one_line(which: int, tmp_path: Path) -> None:
    job = start(tmp_path, processes=2)
    wait_until(lambda: epochs_done(tmp_path) >= 3)
    subprocess.run(["kill", "-9", str(sorted(workers_of(tmp_path))[which])], check=True)
    said, _ = job.communicate(timeout=60)
    assert said.startswith(f"UserError process {which} of 2 was ended by SIGKILL")
    assert said.count("\n") == 1
    assert not processes_of(tmp_path)
    assert (tmp_path / "run" / "checkpoint" / "checkpoint.pt").exists()
    assert not (tmp_path / "run" / "checkpoint" / "processes").exists()


def test_no_process_outlives_a_job_that_is_killed(tmp_path: Path) -> None:
    job = start(tmp_path, processes=2)
    wait_until(lambda: epochs_done(tmp_path) >= 1)
    assert len(workers_of(tmp_path)) == 2
    job.kill()
    job.communicate()
    wait_until(lambda: not processes_of(tmp_path))


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "srun").write_text(SRUN)
    (programs / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    train_by(1, tmp_path / "one", PLAIN)
    train_by(1, tmp_path / "two", PLAIN, nodes=2)
    np.testing.assert_allclose(figures(tmp_path / "two"), figures(tmp_path / "one"), rtol=1e-4)


def test_several_nodes_need_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UserError, match="resources: nodes is 2, but this is no Slurm job"):
        train_by(1, tmp_path / "run", PLAIN, nodes=2)


USER, LOST, MISTAKE = (WorkerFailure(kind, kind[0]) for kind in ("user", "lost", "mistake"))
STOPPED = WorkerFailure("stopped", "s", SIGTERM)
# In torchrun's own words.
KILLED = str(
    ChildFailedError("x", {0: ProcessFailure(0, 8, 1, ""), 1: ProcessFailure(1, 9, -9, "")})
)


@pytest.mark.parametrize(
    ("failures", "stopped_by", "errors", "kind", "words"),
    [
        ([LOST, USER], None, "", UserError, "u"),
        ([LOST], None, KILLED, UserError, "process 1 of 2 was ended by SIGKILL, as"),
        ([STOPPED], None, KILLED, UserError, "process 1 of 2 was ended by"),
        ([STOPPED, LOST], SIGTERM, "", Stopped, "s"),
        ([STOPPED], SIGTERM, KILLED, Stopped, "s"),
        ([LOST], SIGTERM, KILLED, Stopped, "stopped by SIGTERM; the same command"),
        ([], SIGTERM, "", Stopped, "stopped by SIGTERM; the same command carries on"),
        ([LOST, MISTAKE], None, "", RuntimeError, "m"),
        ([LOST] * 2, None, "", UserError, "the processes of the training have lost"),
        ([], None, "last words", RuntimeError, "the processes did not start: last words"),
    ],
)
def test_the_cause_is_reported_and_not_what_follows_from_it(
    failures: list[WorkerFailure],
    stopped_by: signal.Signals | None,
    errors: str,
    kind: type[Exception],
    words: str,
) -> None:
    found = cause(failures, stopped_by, errors, 2)
    assert type(found) is kind
    assert str(found).startswith(words)
