"""The real kagglehub, against a stand-in for Kaggle, and what its errors become."""

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builders import dataset_options, refused, write_archive
from imagepipe.config.dataset import Source
from imagepipe.errors import Stopped
from imagepipe.sources.downloading import RetryPolicy
from imagepipe.sources.fetching import fetch
from imagepipe.sources.kaggle import download_competition
from kaggle_stand_in import KEY, TOKEN, StandIn, log_in, stand_in

MEGABYTE = 1 << 20
CONTENT = os.urandom(3 * MEGABYTE)
HASTY = RetryPolicy(tries=2, connect=5, read=5, pause=0.01)


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A stand-in for Kaggle that has the competition's .zip file, for a user who is logged in."""
    pytest.importorskip("kagglehub")
    home = tmp_path / "home"
    home.mkdir()
    # kagglehub looks for the user's folder when it is imported.
    for name in [name for name in sys.modules if name.partition(".")[0] == "kagglehub"]:
        monkeypatch.delitem(sys.modules, name)
    with stand_in(monkeypatch, home) as found:
        found.content = CONTENT
        log_in(monkeypatch)
        yield found


@pytest.fixture
def log_out(kaggle: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)


def test_a_missing_module_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with refused("competition cifar-10: ", "kagglehub", "pip install kagglehub", "raw_dir"):
        download_competition("cifar-10", tmp_path, HASTY)


def test_the_file_arrives_byte_for_byte(
    tmp_path: Path, kaggle: StandIn, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / 'it\'s a "dïr" {x}'
    path = download_competition("cifar-10", folder, HASTY)
    assert path.read_bytes() == CONTENT
    assert {found.name for found in folder.iterdir()} == {path.name, f"{path.name}.etag"}
    assert kaggle.competitions == ["cifar-10"]
    assert capfd.readouterr().out == ""  # though kagglehub has something to print


def write_token(home: Path) -> None:
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "access_token").write_text(f"{TOKEN}\n")


def write_key(home: Path) -> None:
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "kaggle.json").write_text(f'{{"username": "somebody", "key": "{KEY}"}}')


@pytest.mark.usefixtures("log_out")
@pytest.mark.parametrize("write", [write_token, write_key])
def test_credentials_in_the_users_folder_do(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "home")
    assert download_competition("cifar-10", tmp_path, HASTY).read_bytes() == CONTENT


def test_a_complete_file_is_not_sent_again_unless_kaggle_has_another(
    tmp_path: Path, kaggle: StandIn
) -> None:
    for _ in range(2):
        assert download_competition("cifar-10", tmp_path, HASTY).read_bytes() == CONTENT
    assert kaggle.ranges == [None, f"bytes={len(CONTENT)}-"]
    kaggle.content, kaggle.etag = CONTENT[::-1], '"two"'
    assert download_competition("cifar-10", tmp_path, HASTY).read_bytes() == CONTENT[::-1]


RULES = "https://www.kaggle.com/competitions/cifar-10/rules"
# What Kaggle answers, and what is said of it.
REFUSALS: dict[str, tuple[tuple[int, str], tuple[str, ...]]] = {
    "rules": (
        (403, "You must accept this competition's rules before you'll be able to download files."),
        ("You must accept this competition's rules", "accept its rules", RULES),
    ),
    "not joined": (
        (403, "Permission 'competitions.participate' was denied"),
        ("does not give you", "was denied", "join it", "correct `competition`"),
    ),
    "forbidden": ((403, ""), ("does not give you", "403", "join it", "correct `competition`")),
    "not found": ((404, ""), ("no such competition", "404", "correct `competition`")),
    "not found, in words": ((404, "Not found"), ("no such competition", "correct `competition`")),
    "something else": (
        (418, "I am\na teapot\x1b[31m"),
        (r"418: I am a teapot\x1b[31m", "cifar-10.zip", "raw_dir"),
    ),
    "endless": ((400, "x" * 10**5), ("x" * 200, "cifar-10.zip", "raw_dir")),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_one_line_that_says_what_to_do(
    tmp_path: Path, kaggle: StandIn, name: str
) -> None:
    failure, words = REFUSALS[name]
    kaggle.failures = [failure]
    with refused("competition cifar-10: ", *words) as raised:
        download_competition("cifar-10", tmp_path / "downloads", HASTY)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(tmp_path: Path, kaggle: StandIn, status: int) -> None:
    kaggle.failures = [(status, "busy")]
    assert download_competition("cifar-10", tmp_path, HASTY).read_bytes() == CONTENT
    kaggle.failures = 2 * [(status, "busy")]
    with refused("competition cifar-10: Kaggle answers", f"{status}", "call again", "raw_dir"):
        download_competition("cifar-10", tmp_path / "other", HASTY)


def test_a_refusal_of_the_storage_is_one_line(tmp_path: Path, kaggle: StandIn) -> None:
    kaggle.storage_status = 403
    with refused("competition cifar-10: ", "403", "cifar-10.zip", "raw_dir") as raised:
        download_competition("cifar-10", tmp_path, HASTY)
    assert "signature" not in str(raised.value)


@pytest.mark.usefixtures("log_out")
def test_without_credentials_it_says_where_they_belong(tmp_path: Path, kaggle: StandIn) -> None:
    place = "~/.kaggle/access_token"
    with refused("there are no credentials", "https://www.kaggle.com/settings/api", place):
        download_competition("cifar-10", tmp_path, HASTY)
    assert kaggle.competitions == []


@pytest.mark.usefixtures("log_out")
@pytest.mark.parametrize("content", ["{", "{}", '{"username": "somebody"}'])
def test_a_damaged_file_of_credentials_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "home" / ".kaggle" / "kaggle.json"
    path.parent.mkdir()
    path.write_text(content)
    with refused(str(path), "https://www.kaggle.com/settings/api"):
        download_competition("cifar-10", tmp_path, HASTY)


@pytest.mark.usefixtures("kaggle")
@pytest.mark.parametrize("variable", ["KAGGLE_KEY", "KAGGLE_API_TOKEN"])
@pytest.mark.parametrize("secret", ["oldsecret", "oldsecret\n", "öldsecret→"])
def test_old_credentials_are_named_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, secret: str
) -> None:
    monkeypatch.delenv("KAGGLE_KEY")
    monkeypatch.setenv(variable, secret)
    with refused("Kaggle refuses the credentials", f"${variable}", "make a token") as raised:
        download_competition("cifar-10", tmp_path, HASTY)
    assert "ldsecret" not in str(raised.value)


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
        with refused("no connection to www.kaggle.com", "call again", "raw_dir"):
            download_competition("cifar-10", tmp_path, HASTY)


def test_silence_is_not_waited_for_long(tmp_path: Path, kaggle: StandIn) -> None:
    kaggle.sent = 0
    retries = RetryPolicy(tries=2, read=0.3, pause=0.01)
    with refused("nothing came for 0.3 s", "call again", "raw_dir"):
        download_competition("cifar-10", tmp_path, retries)
    kaggle.is_mute = True
    with refused("no answer from www.kaggle.com within 0.3 s", "call again", "raw_dir"):
        download_competition("cifar-10", tmp_path, retries)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_download_and_a_later_call_resumes_it(
    tmp_path: Path, kaggle: StandIn, number: signal.Signals
) -> None:
    dataset = dataset_options("cifar10", files=[{"name": "random.bin"}]).part(Source)
    bundle = write_archive(tmp_path / "made.zip", {"random.bin": CONTENT})
    downloads = tmp_path / "downloads"

    def call_fetch() -> None:
        fetch(dataset, None, tmp_path / "raw", downloads, tmp_path / "record", HASTY)

    def send_signal() -> None:
        partial = downloads / "cifar-10.zip.partial"
        while not partial.is_file() or partial.stat().st_size < 2 * MEGABYTE - 65536:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    kaggle.content, kaggle.sent = bundle.read_bytes(), 2 * MEGABYTE
    handler = signal.getsignal(number)
    sender = threading.Thread(target=send_signal, daemon=True)
    sender.start()
    with pytest.raises(Stopped, match=f"stopped by {number.name} .*carry on") as raised:
        call_fetch()
    sender.join()
    assert raised.value.signal_number == number
    assert signal.getsignal(number) is handler

    kaggle.sent = None
    call_fetch()
    assert (tmp_path / "raw" / "random.bin").read_bytes() == CONTENT
    resumed = re.fullmatch(r"bytes=(\d+)-", kaggle.ranges[-1] or "")
    assert resumed
    assert int(resumed[1]) >= 2 * MEGABYTE - 65536
    assert [path.name for path in downloads.iterdir()] == ["lock"]


def test_a_full_disk_keeps_what_has_arrived(
    tmp_path: Path, kaggle: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def __init__(self, **_: object) -> None:
            """Count nothing."""

        def advance(self, units: int) -> None:
            raise OSError(28, "No space left on device")

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            """Leave nothing."""

    with monkeypatch.context() as patch:
        patch.setattr("imagepipe.sources.downloading.counter", Full)
        with pytest.raises(OSError, match="No space left"):
            download_competition("cifar-10", tmp_path, HASTY)
    assert download_competition("cifar-10", tmp_path, HASTY).read_bytes() == CONTENT
    assert kaggle.ranges[-1] is not None
