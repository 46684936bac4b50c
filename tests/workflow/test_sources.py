"""Getting the files, by the real workflow: from Kaggle, and with a download that is broken off."""

import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import yaml

from builders import make_competition, make_tiny_zip, served, write_archive
from kaggle_stand_in import StandIn, installed, log_in, stand_in
from project import Project, kill_group


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A stand-in for Kaggle that has the competition's files."""
    made = tmp_path / "made"
    make_competition(made, train=20, test=10)
    members = {path.name: path.read_bytes() for path in made.iterdir()}
    bundle = write_archive(tmp_path / "cifar-10.zip", members)
    (tmp_path / "home").mkdir()
    with stand_in(monkeypatch, tmp_path / "home") as found:
        found.content = bundle.read_bytes()
        yield found


@installed
@pytest.mark.usefixtures("kaggle")
def test_the_competition_is_downloaded_by_kagglehub(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ("dataset=cifar10",)
    result = project.run("fetch", config=config)
    assert result.code == 1
    assert len(result.errors) == 1, result.output
    for word in ("competition cifar-10", "no credentials", "access_token", "raw_dir"):
        assert word in result.errors[0]

    log_in(monkeypatch)
    result = project.run("pack", config=config)
    assert result.code == 0, result.output
    assert (project.directory / "data/cifar10/packed/32x32/test.npy").is_file()
    record = project.read("data/cifar10/first_use.sha256")
    assert record == project.read("data/cifar10/raw/SHA256SUMS")
    assert project.stale("pack", config=config) == set()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_download_is_carried_on_with(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    make_tiny_zip(tmp_path, train=200)
    archive = tmp_path / "kaggle_cifar10_tiny.zip"
    content = archive.read_bytes()
    half = len(content) // 2
    ranges: list[str | None] = []
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"]
            ranges.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            self.send_response(206 if asked else 200)
            self.send_header("ETag", '"one"')
            size = len(content)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.send_header("Content-Length", str(size - start))
            self.end_headers()
            self.wfile.write(content[start:] if asked else content[:half])
            if not asked:
                self.wfile.flush()
                closing.wait(60)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    dataset = yaml.safe_load((project.folder / "workflow/datasets/cifar10_tiny.yaml").read_text())
    with served(Handler) as address:
        dataset["files"][0] |= {"url": f"{address}/{archive.name}", "checksum": None}
        (project.directory / "mine.yaml").write_text(yaml.safe_dump(dataset))
        config = ("dataset=mine.yaml",)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        process = project.start("fetch", config=config)
        partial = project.directory / f"data/mine/.downloads/{archive.name}.partial"
        deadline = time.monotonic() + 60
        while not partial.is_file() or partial.stat().st_size < half // 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        kill_group(process, number)
        if number == signal.SIGINT:
            last = project.read("logs/mine/fetch.log").decode().splitlines()[-1]
            assert last == "stopped by SIGINT while downloading; call again to carry on"
        closing.set()
        kept = partial.stat().st_size
        assert project.run("--unlock", config=config).code == 0
        result = project.run("fetch", config=config)
    assert result.code == 0, result.output
    assert ranges == [None, f"bytes={kept}-"]
    assert project.read(f"data/mine/raw/{archive.name}") == content
    assert [path.name for path in partial.parent.iterdir()] == ["lock"]


def test_a_dataset_that_only_the_user_can_get_says_so(project: Project) -> None:
    dataset = yaml.safe_load((project.folder / "workflow/datasets/cifar10.yaml").read_text())
    dataset["source"] = "raw_dir"
    (project.directory / "own.yaml").write_text(yaml.safe_dump(dataset))
    result = project.run("submission.csv", config=("dataset=own.yaml",))
    assert result.code == 1
    assert len(result.errors) == 1, result.output
    for word in ("raw_dir", "cifar-10.zip", "kaggle.com"):
        assert word in result.errors[0]
