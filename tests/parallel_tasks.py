"""What test_parallel.py lets other processes do, where they can import it."""

import os
import signal

from imagepipe.errors import UserError
from imagepipe.parallel import Advance


def square(task: int, advance: Advance) -> tuple[int, int]:
    advance(task)
    return task * task, os.getpid()


def refuse_three(task: int, advance: Advance) -> int:
    if task == 3:
        raise UserError("three: is refused; take another")
    return task


def die(task: int, advance: Advance) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
