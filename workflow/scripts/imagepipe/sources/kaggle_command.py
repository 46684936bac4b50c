"""The files of Kaggle's competitions, by Kaggle's own command `kaggle`.

The command carries on with a broken download that it has left in a folder, if Kaggle still has the
same file.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagepipe.errors import Stopped, UserError
from imagepipe.interruption import StopRequest, stop_requests
from imagepipe.progress import counter

# In seconds: between two looks at how far the command is, and how long nothing may come. It waits
# for 300 itself before it asks again.
LOOK = 0.5
SILENCE = 900.0

# With these, the command prints every request, and the credentials in it.
TALKATIVE = ("VERBOSE", "VERBOSE_OUTPUT")

# Where the command looks for credentials.
VARIABLES = ("KAGGLE_API_TOKEN", "KAGGLE_API_V1_TOKEN", "KAGGLE_KEY")
FILES = ("access_token", "access_token.txt", "credentials.json", "kaggle.json")


@dataclass(frozen=True)
class Failure:
    """What the command prints when it fails in some way, what that means, and what to do."""

    sign: str
    problem: str
    remedy: str


FAILURES = (
    Failure(
        r"must accept .*rules",
        "its rules are not accepted",
        "accept them on {page}/rules, and call again",
    ),
    Failure(
        r"^(\S+: )?(403 |Permission .* denied)",
        "Kaggle does not give you its files",
        "join it and accept its rules on {page}, or correct `competition` in the dataset file",
    ),
    Failure(
        r"^(\S+: )?(404 |Not found)",
        "Kaggle has no such competition",
        "correct `competition` in the dataset file, or {by_hand}",
    ),
    Failure(
        r"^(ModuleNotFound|Import)Error",
        "the command kaggle lacks a module",
        "call `pip install kaggle six`, or {by_hand}",
    ),
    Failure(
        r"No space left|quota exceeded",
        "the disk is full",
        "make room, or set --directory to another disk, and call again",
    ),
    Failure(
        r"^(\S+: )?(429|5\d\d) ",
        "Kaggle is busy or broken",
        "call again later, or {by_hand}",
    ),
    Failure(
        r"Max retries|Connection ?(Error|aborted|broken|refused|reset)|IncompleteRead|timed out",
        "there is no connection to Kaggle, or it was cut",
        "call again to carry on, or {by_hand}",
    ),
)
NOT_LOGGED_IN = (
    r"^(\S+: )?401 |Authentication required|must authenticate|Unauth(oriz|enticat)ed"
    r"|Could not find kaggle\.json"
)


def download_competition(competition: str, folder: Path, silence: float = SILENCE) -> Path:
    """Download the .zip file with all of a competition's files into `folder`; return its path.

    Raises `UserError` if there is no command `kaggle`, if it fails, and if nothing comes for
    `silence` seconds; raises `Stopped` when a signal asks to stop. What has arrived then stays in
    the folder, for the next call.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bundle = folder / f"{competition}.zip"
    command = [find_command(bundle.name), "competitions", "download", "-c", competition]
    with (
        stop_requests() as stop,
        started([*command, "-p", str(folder), "-q"]) as process,
        counter(total=None, description=f"download {bundle.name}", unit="bytes") as bar,
    ):
        have, last_time = size_of(bundle), time.monotonic()
        while True:
            with suppress(subprocess.TimeoutExpired):
                output, _ = process.communicate(timeout=LOOK)
                break
            refuse_to_go_on(stop)
            before, have = have, size_of(bundle)
            bar.advance(max(have - before, 0))
            if have != before:
                last_time = time.monotonic()
            elif time.monotonic() - last_time > silence:
                raise UserError(
                    f"competition {competition}: nothing has come for {silence:g} s; call again "
                    f"to carry on, or {by_hand(bundle.name)}"
                )
        refuse_to_go_on(stop)
    if process.returncode != 0 or not bundle.is_file():
        raise UserError(f"competition {competition}: {explain(output, competition)}")
    return bundle


def missing_download_tool(dataset: Mapping[str, Any], raw_dir: object) -> str | None:
    """Say in a line which command `fetch` lacks to download a dataset; None if it lacks none.

    It can be asked before the job starts. `raw_dir` is the setting; with it, nothing is downloaded.
    """
    if raw_dir is not None or dataset["source"] != "kaggle":
        return None
    try:
        find_command(f"{dataset['competition']}.zip")
    except UserError as error:
        return str(error)
    return None


def find_command(bundle: str) -> str:
    """Return the path of `kaggle`: beside this Python, or else where the shell would find it.

    Beside it first, as a virtual environment need not be activated.
    """
    beside = str(Path(sys.executable).parent)
    command = shutil.which("kaggle", path=beside) or shutil.which("kaggle")
    if command is None:
        raise UserError(
            "kaggle: the command is not installed; call `pip install kaggle six` (this project's "
            f"extra `kaggle`), or {by_hand(bundle)}"
        )
    return command


@contextmanager
def started(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """Start a command, keep what it says from the terminal, and end it when the block ends."""
    environment = {name: value for name, value in os.environ.items() if name not in TALKATIVE}
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise UserError(
            f"{command[0]}: cannot be started ({error.strerror}); install it anew"
        ) from None
    with process:
        try:
            yield process
        finally:
            process.terminate()


def refuse_to_go_on(stop: StopRequest) -> None:
    """Raise `Stopped` if a signal has asked to stop."""
    if stop.signal is not None:
        raise Stopped("the download was stopped; call again to carry on", stop.signal)


def size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def by_hand(bundle: str) -> str:
    return f"get {bundle} yourself and set raw_dir to its folder"


def explain(output: str, competition: str) -> str:
    """Say from the command's output why it has failed, and what to do."""
    # Its warnings are about other things, and a traceback's places in its code are indented.
    lines = [line for line in output.splitlines() if re.match(r"(?!Warning: |Traceback )\S", line)]
    if any(re.search(NOT_LOGGED_IN, line) for line in lines):
        return f"{login_problem()}, or {by_hand(f'{competition}.zip')}"
    for failure in FAILURES:
        found = [line for line in lines if re.search(failure.sign, line, flags=re.IGNORECASE)]
        if found:
            page = f"https://www.kaggle.com/competitions/{competition}"
            remedy = failure.remedy.format(page=page, by_hand=by_hand(f"{competition}.zip"))
            return f"{failure.problem} ({without_secrets(found[-1])}); {remedy}"
    last = without_secrets(lines[-1]) if lines else "it does not say why"
    return f"the command kaggle has failed ({last}); {by_hand(f'{competition}.zip')}"


def login_problem() -> str:
    """Say whether the command has found no credentials, or which ones Kaggle has refused."""
    home = Path("~/.kaggle").expanduser()
    new_token = "make a token on https://www.kaggle.com/settings/api, save it as "
    new_token += f"{home / 'access_token'}, and call again"
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    own = os.environ.get("KAGGLE_CONFIG_DIR")
    folders = [home, settings / "kaggle", *([Path(own)] if own else [])]
    places = [f"${name}" for name in VARIABLES if os.environ.get(name)]
    places += [
        str(folder / name) for folder in folders for name in FILES if (folder / name).is_file()
    ]
    if places:
        return f"Kaggle refuses the credentials in {' and '.join(places)}; {new_token}"
    return f"the command kaggle has no credentials; {new_token}"


def without_secrets(line: str) -> str:
    """Leave out of a line what follows an address's "?", which may be a signature, and tokens."""
    line = re.sub(r"\?\S+", "?…", line)
    for secret in filter(None, map(os.environ.get, VARIABLES)):
        line = line.replace(secret, "…")
    return " ".join(line.split())
