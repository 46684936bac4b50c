"""Spreading tasks over processes, with one progress bar for all of them."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from imagepipe.errors import UserError
from imagepipe.progress import counter

Task = TypeVar("Task")
Result = TypeVar("Result")
Advance = Callable[[int], None]

SECONDS_BETWEEN_LOOKS = 0.2


def run_tasks(
    function: Callable[[Task, Advance], Result],
    tasks: Sequence[Task],
    workers: int,
    *,
    total: int,
    description: str,
    unit: str,
    units_per_process: int,
) -> list[Result]:
    """Return `function(task, advance)` of every task, in their order.

    `advance(n)` is for the function to say that n of the `total` units are done. The function and
    the tasks are pickled where there is more than one worker, for each of which there must be
    `units_per_process`: fewer are not worth its start. The first exception that a task
    raises is raised here, when those that are running have ended.
    """
    workers = min(workers, len(tasks), max(total // units_per_process, 1))
    with counter(total=total, description=description, unit=unit) as bar:
        if workers <= 1:
            return [function(task, bar.advance) for task in tasks]
        context: BaseContext = get_context("forkserver")
        done = context.Value("Q", 0)
        shown = 0
        with ProcessPoolExecutor(
            workers, mp_context=context, initializer=_share, initargs=(done,)
        ) as pool:
            futures = [pool.submit(_run, function, task) for task in tasks]
            try:
                while True:
                    finished, running = wait(futures, SECONDS_BETWEEN_LOOKS, FIRST_EXCEPTION)
                    bar.advance(done.value - shown)
                    shown = done.value
                    if not running or any(future.exception() for future in finished):
                        break
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        failed = [f for f in futures if not f.cancelled() and f.exception()]
        try:
            return [future.result() for future in failed or futures]
        except BrokenProcessPool:
            raise UserError(
                f"{description}: the system has ended a process, as it does when the memory is "
                "full; close other programs, or give fewer --cores"
            ) from None


_done: Any = None


def _share(done: Any) -> None:
    """Remember, in a worker process, the number of units that all of them have done."""
    global _done
    _done = done


def _run(function: Callable[[Task, Advance], Result], task: Task) -> Result:
    return function(task, _advance)


def _advance(units: int) -> None:
    with _done.get_lock():
        _done.value += units
