"""Messages of jobs to the process that draws the terminal.

On a terminal only one process writes, so that nothing tears what it draws. It reads a named pipe,
whose path the jobs of its machine inherit in an environment variable. `send` returns False in a job
without such a pipe, or whose reader is gone: the job then writes to standard error itself.
"""

import json
import os
import select
from dataclasses import asdict, dataclass, fields, replace

# The path of the pipe.
PIPE = "IMAGEPIPE_TERMINAL_PIPE"
# What tells the jobs apart: the path of a job's log. Its processes inherit it.
JOB = "IMAGEPIPE_TERMINAL_JOB"
# A message is this character, JSON and a newline. All else in the pipe is plain text.
START = b"\x1e"
SECONDS_TO_WAIT = 1.0


@dataclass(frozen=True)
class Line:
    """A line of a job's log."""

    text: str
    is_warning: bool = False


@dataclass(frozen=True)
class Count:
    """The state of a loop (see `progress.counter`).

    number: tells apart the loops of a process. initial: units done before the loop began. seconds:
    since then. is_over: this is the loop's last message.
    """

    number: int
    description: str
    unit: str
    total: int | None
    initial: int
    done: int
    seconds: float
    figures: str = ""
    is_over: bool = False


Message = Line | Count
KINDS: dict[str, type[Line] | type[Count]] = {"line": Line, "count": Count}

_pipe: int | None = None


def is_open() -> bool:
    """Return whether another process draws the terminal for this one.

    Of the processes that share a training, only the first one sends messages.
    """
    global _pipe
    if PIPE not in os.environ or JOB not in os.environ or os.environ.get("RANK", "0") != "0":
        return False
    if _pipe is None:
        try:
            _pipe = os.open(os.environ[PIPE], os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            _close()
    return _pipe is not None


def send(message: Message, *, wait: bool) -> bool:
    """Send a message; return False if nobody reads it.

    While the pipe is full, a message is lost: at once, or after a second if `wait`. A line that is
    too long for the pipe is cut.
    """
    if not is_open() or _pipe is None:
        return False
    data = encode(message, os.environ[JOB])
    for attempt in range(2):
        try:
            os.write(_pipe, data)
        except BlockingIOError:
            if attempt or not wait:
                break
            select.select([], [_pipe], [], SECONDS_TO_WAIT)
        except OSError:
            _close()
            return False
        else:
            break
    return True


def encode(message: Message, job: str) -> bytes:
    """Return a message as bytes, no more than a pipe takes at once."""
    content = {"kind": type(message).__name__.lower(), "job": job, **asdict(message)}
    data = START + json.dumps(content).encode() + b"\n"
    if isinstance(message, Line) and len(data) > select.PIPE_BUF:
        kept = len(message.text) * select.PIPE_BUF // len(data) - 1
        if kept > 0:
            return encode(replace(message, text=message.text[:kept].rstrip("…") + "…"), job)
    return data


def decode(data: bytes) -> tuple[str, Message] | None:
    """Return the job and the message in a line that begins with `START`; None if it is damaged."""
    try:
        content = json.loads(data.removeprefix(START))
        job, message = content.pop("job"), KINDS[content.pop("kind")](**content)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None
    for one in fields(message):
        # No annotation of this module is text.
        if not isinstance(getattr(message, one.name), one.type):  # type: ignore[arg-type]
            return None
    return job, message


def _close() -> None:
    """Forget the pipe, in this process and those that it starts."""
    global _pipe
    os.environ.pop(PIPE, None)
    if _pipe is not None:
        os.close(_pipe)
        _pipe = None
