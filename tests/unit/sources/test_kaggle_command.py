"""The real command `kaggle`, against a stand-in for Kaggle, and what its errors become."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builders import dataset_options, refused
from imagepipe.errors import Stopped, UserError
from imagepipe.sources import kaggle_command
from imagepipe.sources.kaggle_command import download_competition
from kaggle_stand_in import KEY, TOKEN, StandIn, installed, log_in, stand_in

MEGABYTE = 1 << 20  # what the command reads at once
CONTENT = os.urandom(3 * MEGABYTE)


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A stand-in for Kaggle that has the competition's .zip file, for a user who is logged in."""
    home = tmp_path / "home"
    home.mkdir()
    with stand_in(monkeypatch, home) as found:
        found.content = CONTENT
        log_in(monkeypatch)
        yield found


@pytest.fixture
def log_out(kaggle: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)


def fake_command(folder: Path, script: str) -> Path:
    """Write a command `kaggle` that runs a Python script."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "kaggle"
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)
    return path


@installed
def test_the_file_arrives_byte_for_byte(tmp_path: Path, kaggle: StandIn) -> None:
    folder = tmp_path / 'it\'s a "dïr" {x}'
    path = download_competition("cifar-10", folder)
    assert path == folder / "cifar-10.zip"
    assert path.read_bytes() == CONTENT
    assert [found.name for found in folder.iterdir()] == ["cifar-10.zip"]
    assert kaggle.competitions == ["cifar-10"]


def write_token(home: Path) -> None:
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "access_token").write_text(TOKEN)


def write_key(home: Path) -> None:
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "kaggle.json").write_text(f'{{"username": "somebody", "key": "{KEY}"}}')


@installed
@pytest.mark.usefixtures("log_out")
@pytest.mark.parametrize("write", [write_token, write_key])
def test_credentials_in_the_users_folder_do(
    tmp_path: Path, kaggle: StandIn, write: Callable[[Path], None]
) -> None:
    write(tmp_path / "home")
    assert download_competition("cifar-10", tmp_path).read_bytes() == CONTENT


RULES = "https://www.kaggle.com/competitions/cifar-10/rules"
FAILURES: dict[str, tuple[tuple[int, str], tuple[str, ...]]] = {
    "rules": (
        (403, "You must accept this competition's rules before you'll be able to download files."),
        ("its rules are not accepted", RULES),
    ),
    "not joined": (
        (403, "Permission 'competitions.participate' was denied"),
        ("does not give you", "join it", "correct `competition`"),
    ),
    "forbidden": ((403, ""), ("does not give you", "403", "join it", "correct `competition`")),
    "not found": ((404, ""), ("no such competition", "404", "correct `competition`")),
    "not found, in words": ((404, "Not found"), ("no such competition", "correct `competition`")),
    "too many requests": ((429, ""), ("busy", "429", "later", "raw_dir")),
    "broken": ((500, ""), ("broken", "500", "later", "raw_dir")),
    "something else": ((418, "I am a teapot"), ("I am a teapot", "cifar-10.zip", "raw_dir")),
}


@installed
@pytest.mark.parametrize("name", FAILURES)
def test_a_refusal_is_one_line_that_says_what_to_do(
    tmp_path: Path, kaggle: StandIn, name: str
) -> None:
    kaggle.failure, words = FAILURES[name]
    with refused("competition cifar-10: ", *words):
        download_competition("cifar-10", tmp_path / "downloads")


@installed
@pytest.mark.usefixtures("log_out")
def test_without_credentials_it_says_where_they_belong(tmp_path: Path) -> None:
    place = tmp_path / "home" / ".kaggle" / "access_token"
    with refused("has no credentials", "https://www.kaggle.com/settings/api", str(place)):
        download_competition("cifar-10", tmp_path)


@installed
@pytest.mark.usefixtures("kaggle")
@pytest.mark.parametrize("variable", ["KAGGLE_KEY", "KAGGLE_API_TOKEN"])
def test_old_credentials_are_named_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("KAGGLE_KEY")
    monkeypatch.setenv(variable, "oldsecret")
    with pytest.raises(UserError, match="refuses") as raised:
        download_competition("cifar-10", tmp_path)
    assert f"${variable}" in str(raised.value)
    assert "oldsecret" not in str(raised.value)


@installed
@pytest.mark.usefixtures("kaggle")
@pytest.mark.parametrize("token", [False, True])
def test_a_server_that_cannot_be_reached_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: bool
) -> None:
    if token:
        monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with refused("no connection to Kaggle", "call again", "raw_dir"):
            download_competition("cifar-10", tmp_path)


@installed
def test_silence_is_not_waited_for_long(tmp_path: Path, kaggle: StandIn) -> None:
    kaggle.sent = 0
    with refused("nothing has come for 0.5 s", "carry on", "raw_dir"):
        download_competition("cifar-10", tmp_path, silence=0.5)


@installed
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_and_a_later_call_carries_on(
    tmp_path: Path, kaggle: StandIn, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    processes: list[subprocess.Popen[str]] = []

    class Recorded(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            processes.append(self)

    def send_signal() -> None:
        while kaggle_command.size_of(tmp_path / "cifar-10.zip") < 2 * MEGABYTE:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    kaggle.sent = 2 * MEGABYTE
    sender = threading.Thread(target=send_signal, daemon=True)
    sender.start()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Recorded)
        with pytest.raises(Stopped, match="carry on") as raised:
            download_competition("cifar-10", tmp_path, silence=60)
    sender.join()
    assert raised.value.signal_number == number
    assert [process.poll() for process in processes] == [-signal.SIGTERM]

    kaggle.sent = None
    assert download_competition("cifar-10", tmp_path).read_bytes() == CONTENT
    assert kaggle.ranges[-1] == f"bytes={2 * MEGABYTE}-"


def test_without_the_command_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with refused("kaggle", "pip install kaggle six", "cifar-10.zip", "raw_dir"):
        download_competition("cifar-10", tmp_path)


@pytest.mark.parametrize(
    ("dataset", "raw_dir", "missing"),
    [
        ("cifar10", None, True),
        ("cifar10", "/data/kaggle", False),
        ("cifar10_tiny", None, False),
        ("sample", None, False),
    ],
)
def test_the_missing_command_is_known_before_the_job_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dataset: str,
    raw_dir: str | None,
    missing: bool,
) -> None:
    options = dataset_options(dataset)
    beside = fake_command(tmp_path, "")
    monkeypatch.setattr(sys, "executable", str(beside.with_name("python")))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kaggle_command.missing_download_tool(options, raw_dir) is None
    beside.unlink()
    message = kaggle_command.missing_download_tool(options, raw_dir)
    assert (message is not None) == missing
    if message is not None:
        assert message.startswith("kaggle: the command is not installed; call `pip install kaggle")
        assert "cifar-10.zip" in message


def test_the_command_beside_python_goes_before_the_one_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, elsewhere = (fake_command(tmp_path / name, "") for name in ("beside", "elsewhere"))
    monkeypatch.setenv("PATH", str(elsewhere.parent))
    monkeypatch.setattr(sys, "executable", str(beside.with_name("python")))
    assert kaggle_command.find_command("cifar-10.zip") == str(beside)
    beside.unlink()
    assert kaggle_command.find_command("cifar-10.zip") == str(elsewhere)


TRACEBACK = """Warning: Looks like you're using an outdated API Version
Traceback (most recent call last):
  File "kaggle.py", line 1, in <module>
    raise HTTPError(404, "Not found")
"""


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (TRACEBACK + "ModuleNotFoundError: No module named 'six'", ["'six'", "pip install"]),
        (TRACEBACK + "TypeError: no string", ["TypeError: no string", "cifar-10.zip", "raw_dir"]),
        ("[Errno 28] No space left on device", ["the disk is full", "make room"]),
        ("('Connection broken: IncompleteRead(404 bytes read', 7)", ["or it was cut"]),
        ("403 - Forbidden - You must accept this competition's rules", [RULES]),
        ("Could not find kaggle.json. Make sure it's located in x", ["credentials"]),
        ("", ["does not say why", "raw_dir"]),
    ],
)
def test_other_outputs_become_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, words: list[str]
) -> None:
    fake_command(tmp_path, f"import sys; print({output!r}); sys.exit(1)")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / "cifar-10.zip").touch()  # broken off, of an earlier call
    with refused("competition cifar-10: ", *words):
        download_competition("cifar-10", tmp_path)


def test_what_is_secret_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a token, nor the signature of an address, nor what the command says when VERBOSE."""
    monkeypatch.setenv("KAGGLE_API_TOKEN", "secrettoken")
    for name in ("VERBOSE", "VERBOSE_OUTPUT"):
        monkeypatch.setenv(name, "true")
    script = "print('https://host/file?signature=abc', os.environ['KAGGLE_API_TOKEN'], *os.environ)"
    fake_command(tmp_path, f"import os, sys; {script}; sys.exit(1)")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(UserError, match="https://host/file") as raised:
        download_competition("cifar-10", tmp_path)
    for word in ("abc", "secrettoken", "VERBOSE"):
        assert word not in str(raised.value)


def test_a_command_that_cannot_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fake_command(tmp_path, "")
    path.write_text("#!/nowhere/python\n")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with refused(str(path), "cannot be started"):
        download_competition("cifar-10", tmp_path)


def test_success_without_a_file_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_command(tmp_path, "print('nothing to do')")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with refused("nothing to do", "raw_dir"):
        download_competition("cifar-10", tmp_path)


def test_an_interruption_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal's Ctrl-C reaches the command, too, which ends as if all were well."""
    fake_command(tmp_path, "import os; os.kill(os.getppid(), 2); print('User cancelled operation')")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / "cifar-10.zip").touch()
    with pytest.raises(Stopped):
        download_competition("cifar-10", tmp_path)
