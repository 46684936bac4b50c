"""Checkpoints: exact, never half-written, and never trusted."""

import errno
import logging
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from imagepipe.training import checkpoint

SCRIPTS = Path(__file__).parents[3] / "workflow" / "scripts"


def trained_state(steps: int = 2) -> dict[str, Any]:
    """Return the state of a small network after some steps of SGD with momentum."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(steps):
        model(torch.randn(2, 3, 5, 5)).square().sum().backward()
        optimizer.step()
    history = [{"epochs": 1, "train_loss": 0.1 + 0.2, "valid_accuracy": None, "device": "cpu"}]
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": history}


def test_a_state_comes_back_exactly(tmp_path: Path) -> None:
    state = trained_state()
    checkpoint.save(tmp_path / "new folder", state, "mine")
    loaded = checkpoint.load(tmp_path / "new folder", "mine")
    assert loaded is not None
    assert loaded["history"] == state["history"]
    assert loaded["optimizer"]["param_groups"] == state["optimizer"]["param_groups"]
    for name, tensor in state["model"].items():
        assert torch.equal(loaded["model"][name], tensor)
    for number, values in state["optimizer"]["state"].items():
        buffer = loaded["optimizer"]["state"][number]["momentum_buffer"]
        assert torch.equal(buffer, values["momentum_buffer"])


def test_the_newest_state_is_the_one_that_counts(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"epoch": 1}, "mine")
    checkpoint.save(tmp_path, {"epoch": 2}, "mine")
    assert checkpoint.load(tmp_path, "mine") == {"epoch": 2}


def test_there_is_nothing_to_load_in_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path / "nowhere", "mine") is None


def assert_set_aside(folder: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert checkpoint.load(folder, "mine") is None
    (record,) = caplog.records
    assert "training starts anew" in record.getMessage()
    assert [path.name for path in folder.iterdir()] == ["checkpoint.pt.unusable"]
    assert (folder / "checkpoint.pt.unusable").read_bytes() == content


def test_the_checkpoint_of_something_else_is_set_aside_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint.save(tmp_path, {"epoch": 1}, "another recipe")
    content = (tmp_path / "checkpoint.pt").read_bytes()
    assert_set_aside(tmp_path, content, caplog)
    assert "belongs to another recipe" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no checkpoint at all\n",
        b"\x80\x02X",
        b"\x80\x02}q\x00.",
        b"PK\x03\x04",
        bytes(range(256)),
    ],
    ids=["empty", "text", "a broken pickle", "another pickle", "the start of a zip", "noise"],
)
def test_a_file_that_is_no_checkpoint_is_set_aside(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    assert_set_aside(tmp_path, content, caplog)


@pytest.mark.parametrize("part", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_checkpoint_is_set_aside(
    part: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint.save(tmp_path, trained_state(), "mine")
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()[: int(part * path.stat().st_size)]
    path.write_bytes(content)
    assert_set_aside(tmp_path, content, caplog)


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_code_in_a_checkpoint_is_not_run(
    form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, victim = tmp_path / "checkpoint", tmp_path / "victim"
    folder.mkdir()
    content = {"fingerprint": "mine", "state": Attack(victim)}
    with (folder / "checkpoint.pt").open("wb") as file:
        pickle.dump(content, file, 2) if form == "pickle" else torch.save(content, file)
    assert_set_aside(folder, (folder / "checkpoint.pt").read_bytes(), caplog)
    assert not victim.exists()


def test_a_save_that_fails_half_way_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, {"epoch": 1}, "mine")

    def full_disk(_: object, file: Any) -> None:
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_disk)
        with pytest.raises(OSError, match="No space left"):
            checkpoint.save(tmp_path, {"epoch": 2}, "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert checkpoint.load(tmp_path, "mine") == {"epoch": 1}
    checkpoint.save(tmp_path, {"epoch": 3}, "mine")
    assert checkpoint.load(tmp_path, "mine") == {"epoch": 3}


FILL = """
import resource, signal, sys
from pathlib import Path
import torch
from imagepipe.training import checkpoint
folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    checkpoint.save(folder, {"weights": torch.zeros(100_000)}, "mine")
except OSError as error:
    print(error.strerror, error.filename, sep="|")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a limit on the size of files")
def test_where_a_file_cannot_grow_the_old_checkpoint_stays_and_no_debris(tmp_path: Path) -> None:
    """The system itself refuses to write, in the middle of the weights."""
    checkpoint.save(tmp_path, {"epoch": 1}, "mine")
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"File too large|{tmp_path / 'checkpoint.pt'}\n", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert checkpoint.load(tmp_path, "mine") == {"epoch": 1}


def test_remove_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    checkpoint.save(folder, {"epoch": 1}, "another")
    checkpoint.load(folder, "mine")
    checkpoint.save(folder, {"epoch": 2}, "mine")
    (folder / "checkpoint.pt.part").write_bytes(b"of a job that was killed")
    assert len(list(folder.iterdir())) == 3
    checkpoint.remove(folder)
    assert not folder.exists()
    checkpoint.remove(folder)


def test_remove_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"epoch": 1}, "mine")
    (tmp_path / "notes.txt").write_text("mine")
    checkpoint.remove(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
