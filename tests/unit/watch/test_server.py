"""The page of `imagepipe watch --web`: what it answers, and what it refuses."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import watch_builders
from imagepipe.errors import UserError
from imagepipe.watch import server as server_module
from imagepipe.watch import status
from imagepipe.watch.server import DATA, MOST_POINTS, PageServer, serve
from project import environment
from snapshots import snapshot
from watch_builders import FAILURE, WATCH, WorkingDirectory, all_states, epochs_of

LOCALHOST = "127.0.0.1"


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the made files be of this moment."""
    monkeypatch.setattr(watch_builders, "NOW", time.time())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PageServer]:
    """A running server of a working directory with trainings in all states."""
    all_states(tmp_path)
    with PageServer(tmp_path, LOCALHOST, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(
    server: PageServer, path: str = "/", method: str = "GET", host: str | None = LOCALHOST
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Return the code, headers and content of an answer; `host` is the header of that name."""
    connection = http.client.HTTPConnection(LOCALHOST, server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def trainings(server: PageServer) -> dict[str, Any]:
    code, headers, content = ask(server, DATA)
    assert (code, headers["Content-Type"]) == (200, "application/json")
    found: dict[str, Any] = json.loads(content)
    return found


def test_the_data_are_those_of_the_terminal(server: PageServer) -> None:
    found = trainings(server)
    assert found["tally"] == "1 running, 1 starting, 1 failed, 1 stopped, 1 stale, 2 finished"
    running, starting, *_ = found["trainings"]
    assert running["name"] == "sample, fast, seed 0, train"
    assert running["state"] == "running"
    assert running["cells"]["epochs"] == "5.4/8"
    assert running["fraction"] == pytest.approx(5.4 / 8)
    assert running["doing"].startswith("epoch 6 of 8, 40 % done")
    assert {column["name"] for column in found["columns"]} >= set(running["cells"])
    loss, accuracy = running["plots"]
    assert (loss["title"], loss["last_epoch"]) == ("loss", 8)
    assert [curve["label"] for curve in accuracy["curves"]] == ["train 0.849", "valid 0.741"]
    assert [epoch for epoch, _ in accuracy["curves"][0]["points"]] == [1, 2, 3, 4, 5]
    assert starting["plots"] is None
    assert [one["note"] for one in found["trainings"] if one["state"] == "failed"] == [FAILURE]


def test_the_data_follow_the_files(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "SECONDS_BETWEEN_LOOKS", 0.0)
    before = len(trainings(server)["trainings"])
    WorkingDirectory(server.folder).add("new", epochs=epochs_of(1), log=[])
    time.sleep(1.1)
    trainings(server)
    names = [one["name"] for one in trainings(server)["trainings"]]
    assert len(names) == before + 1
    assert "sample, new, seed 0, train" in names


def test_the_page_asks_nobody_else(server: PageServer) -> None:
    code, headers, content = ask(server)
    page = content.decode()
    assert (code, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    rules = [rule.strip() for rule in policy.split(";")]
    assert "default-src 'none'" in rules
    assert "connect-src 'self'" in rules
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Server"] == "imagepipe"


def test_the_folders_name_has_no_effect_in_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "<script>alert(1)<"
    folder.mkdir()
    with PageServer(folder, LOCALHOST, 0) as server:
        assert b"<script>alert" not in server.page
        assert b"&lt;script&gt;alert(1)" in server.page


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", LOCALHOST, "127.0.0.1:1", "[::1]:9"]
)
def test_this_machines_names_are_answered_at_the_port_of_any_tunnel(
    server: PageServer, host: str
) -> None:
    assert ask(server, host=host)[0] == 200
    assert ask(server, DATA, host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "127.0.0.2",
        "",
        "[",
        None,
        "a b",
    ],
)
@pytest.mark.parametrize("path", ["/", DATA])
def test_other_names_are_refused(server: PageServer, host: str | None, path: str) -> None:
    code, _, content = ask(server, path, host=host)
    assert code == 421
    assert b"sample" not in content


@pytest.mark.parametrize(
    "path",
    [
        "/results/sample/fast/seed0/train/history.csv",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/trainings.json/../../etc/passwd",
        "/server.py",
        "/?x",
        "http://evil.example/",
        "*",
    ],
)
def test_there_are_no_other_paths(server: PageServer, path: str) -> None:
    code, _, content = ask(server, path)
    assert code == 404
    assert b"root:" not in content
    assert len(content) < 1000


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"])
def test_there_is_only_get(server: PageServer, method: str) -> None:
    before = snapshot(server.folder)
    assert ask(server, method=method)[0] == 501
    assert snapshot(server.folder) == before


def test_many_browsers_share_a_look_and_change_nothing(
    server: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(server.folder)
    looks = []
    look = server._watcher.look
    monkeypatch.setattr(server._watcher, "look", lambda: looks.append(1) or look())
    monkeypatch.setattr(status, "SECONDS_BETWEEN_LOOKS", 60.0)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(server, DATA), range(40)))
    assert {code for code, _, _ in answers} == {200}
    assert len({content for _, _, content in answers}) == 1
    assert len(looks) == 1
    assert snapshot(server.folder) == before


def test_a_browser_that_says_nothing_holds_up_no_other(server: PageServer) -> None:
    with socket.create_connection((LOCALHOST, server.server_port)):
        assert ask(server)[0] == 200


def test_slow_browsers_are_limited_in_number_and_time(
    server: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MOST_CONNECTIONS", 3)
    slow = [socket.create_connection((LOCALHOST, server.server_port)) for _ in range(3)]
    refused = socket.create_connection((LOCALHOST, server.server_port), timeout=5)
    assert refused.recv(1) == b""
    monkeypatch.setattr(server_module, "SECONDS_IN_ALL", 0.5)
    for number, connection in enumerate(slow):
        connection.settimeout(5)
        # However often it sends something.
        with contextlib.suppress(ConnectionError):
            for _ in range(20 if number == 0 else 0):
                connection.sendall(b"G")
                time.sleep(0.1)
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b""
    monkeypatch.setattr(server_module, "SECONDS_IN_ALL", 60)
    assert ask(server)[0] == 200
    for connection in (*slow, refused):
        connection.close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_all_addresses_of_this_machine_are_answered(tmp_path: Path) -> None:
    with PageServer(tmp_path, "::", 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            # Another address than those of LOOPBACK.
            connection = http.client.HTTPConnection("127.0.0.2", server.server_port, timeout=10)
            connection.request("GET", DATA)
            assert connection.getresponse().status == 200
            connection.close()
        finally:
            server.shutdown()
            thread.join()


def test_a_browser_that_goes_leaves_no_traceback(
    server: PageServer, capfd: pytest.CaptureFixture[str]
) -> None:
    connection = socket.create_connection((LOCALHOST, server.server_port))
    # So that its end is a reset, and not orderly.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.sendall(b"GET / HT")
    connection.close()
    assert ask(server)[0] == 200
    assert capfd.readouterr().err == ""


def test_long_trainings_are_thinned_and_end_where_they_end(tmp_path: Path) -> None:
    made = WorkingDirectory(tmp_path)
    made.add(epochs=epochs_of(5000), num_epochs=6000, log=[])
    with PageServer(tmp_path, LOCALHOST, 0) as server:
        found = json.loads(server.data())
    (training,) = found["trainings"]
    for plot in training["plots"]:
        for curve in plot["curves"]:
            numbers = [epoch for epoch, _ in curve["points"]]
            assert len(numbers) <= MOST_POINTS + 1
            assert (numbers[0], numbers[-1]) == (1, 5000)


def test_an_address_in_use_is_one_line(server: PageServer, tmp_path: Path) -> None:
    for host in (LOCALHOST, "no.such.host.invalid", "x" * 70 + ".example"):
        with pytest.raises(UserError, match="choose another one") as caught:
            serve(tmp_path, host, server.server_port, print)
        assert "\n" not in str(caught.value)
        assert f"--host {host} --port {server.server_port}: " in str(caught.value)


def test_the_command_says_where_it_is_and_how_to_reach_it_and_ends_by_ctrl_c(
    tmp_path: Path,
) -> None:
    process = subprocess.Popen(
        [*WATCH, "--web", "."],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline()
        match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/ shows (.*); Ctrl-C ends it\n", address)
        assert match, address
        assert match[2] == str(tmp_path)
        port = match[1]
        tunnel = process.stdout.readline()
        assert f"ssh -L {port}:localhost:{port} {socket.gethostname()}" in tunnel
        with socket.create_connection((LOCALHOST, int(port))) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert connection.recv(15) == b"HTTP/1.0 200 OK"
        # It listens at no other address.
        listening = Path("/proc/net/tcp").read_text()
        at = [line.split()[1] for line in listening.splitlines() if f":{int(port):04X} " in line]
        assert {place for place in at if place.endswith(f":{int(port):04X}")} == {
            f"0100007F:{int(port):04X}"
        }
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert errors == ""
    assert not list(tmp_path.iterdir())
