"""Calls of snakemake, each in a fork of a process that has imported it already.

Importing it takes most of the time of a dry run, and of a run that ends with a user's mistake;
hundreds of tests make one.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path
from typing import Any


def call(arguments: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Return exit code and output of `snakemake ARGUMENTS`, called in `folder`."""
    with tempfile.NamedTemporaryFile() as output:
        request = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": environment,
            "output": output.name,
        }
        process = server()
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(request), file=process.stdin, flush=True)
        code = int(process.stdout.readline())
        return code, Path(output.name).read_text()


@cache
def server() -> "subprocess.Popen[str]":
    """Start the process that forks; it ends with this one, when its input does."""
    return subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def serve() -> None:
    import snakemake.cli  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            answer(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def answer(arguments: list[str], folder: str, environment: dict[str, str], output: str) -> None:
    """Become a call of snakemake, and end with it."""
    from snakemake.cli import main
    from snakemake.workflow import Workflow

    os.chdir(folder)
    # As in a process that has just begun here.
    sys.argv = ["snakemake", *arguments]
    Workflow._rundir = folder
    os.environ.clear()
    os.environ.update(environment)
    for stream, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        os.dup2(os.open(os.devnull if stream == 0 else output, flags | os.O_APPEND), stream)
    code: Any = 1
    # One that hangs is ended by SIGALRM.
    signal.alarm(900)
    try:
        main(arguments)
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve()
