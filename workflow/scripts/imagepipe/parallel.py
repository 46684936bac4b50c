"""Spreading tasks over processes, with one progress bar for all of them."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from imagepipe.errors import UserError
from imagepipe.progress import counter

Task = TypeVar("Task")
Result = TypeVar("Result")
Advance = Callable[[int], None]

SECONDS_BETWEEN_LOOKS = 0.2


def run_tasks(
    function: Callable[[Task, Advance], Result],
    tasks: Iterable[Task],
    workers: int,
    *,
    total: int,
    description: str,
    unit: str,
    units_per_process: int,
) -> list[Result]:
    """Return `function(task, advance)` for each task, in order.

    The function calls `advance(n)` when another n of the `total` units are done. The number of
    workers is reduced until each has at least `units_per_process` units, so that starting it pays.
    With several workers, the function and the tasks are pickled. If a task raises, this waits for
    the running tasks and raises the exception of the first failed task.
    """
    workers = min(workers, max(total // units_per_process, 1))
    with counter(total=total, description=description, unit=unit) as bar:
        if workers <= 1:
            return [function(task, bar.advance) for task in tasks]
        context = get_context("forkserver")
        done = context.Value("Q", 0)
        shown = 0
        try:
            with ProcessPoolExecutor(
                workers, mp_context=context, initializer=_set_done, initargs=(done,)
            ) as pool:
                try:
                    futures = [pool.submit(_run, function, task) for task in tasks]
                    finished, running = set[Future[Result]](), set(futures)
                    while running and not any(future.exception() for future in finished):
                        finished, running = wait(running, SECONDS_BETWEEN_LOOKS, FIRST_EXCEPTION)
                        bar.advance(done.value - shown)
                        shown = done.value
                finally:
                    pool.shutdown(cancel_futures=True)
            return [future.result() for future in futures if not future.cancelled()]
        except BrokenProcessPool:
            raise UserError(
                f"{description}: the system has ended a process, as it does when the memory is "
                "full; close other programs, or give fewer --cores"
            ) from None


_done: Any = None


def _set_done(done: Any) -> None:
    """Store, in a worker process, the count of finished units that all workers share."""
    global _done
    _done = done


def _run(function: Callable[[Task, Advance], Result], task: Task) -> Result:
    return function(task, _advance)


def _advance(units: int) -> None:
    with _done.get_lock():
        _done.value += units
