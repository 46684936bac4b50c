"""Spreading tasks over processes, with one progress bar for all of them."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from imagepipe.errors import UserError
from imagepipe.progress import counter

Task = TypeVar("Task")
Result = TypeVar("Result")
Advance = Callable[[int], None]

SECONDS_BETWEEN_LOOKS = 0.2
# How many tasks lie ready, so that no worker waits for one.
READY_TASKS = 2


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
    """Return `function(task, advance)` of every task, in their order.

    `advance(n)` is for the function to say that n of the `total` units are done. The function and
    the tasks are pickled where there is more than one worker, for each of which there must be
    `units_per_process`: fewer are not worth its start. A task is taken when a worker is about to be
    free. The first exception that a task raises is raised here, when those that are running have
    ended.
    """
    workers = min(workers, max(total // units_per_process, 1))
    with counter(total=total, description=description, unit=unit) as bar:
        if workers <= 1:
            return [function(task, bar.advance) for task in tasks]
        context: BaseContext = get_context("forkserver")
        done = context.Value("Q", 0)
        shown = 0
        upcoming = enumerate(tasks)
        running: dict[Future[Result], int] = {}
        results: dict[int, Result] = {}
        failed: dict[int, BaseException] = {}
        try:
            with ProcessPoolExecutor(
                workers, mp_context=context, initializer=_share, initargs=(done,)
            ) as pool:
                try:
                    while not failed:
                        for number, task in islice(upcoming, workers + READY_TASKS - len(running)):
                            running[pool.submit(_run, function, task)] = number
                        if not running:
                            break
                        finished, _ = wait(running, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
                        for future in finished:
                            _keep(future, running.pop(future), results, failed)
                        bar.advance(done.value - shown)
                        shown = done.value
                finally:
                    pool.shutdown(wait=True, cancel_futures=True)
            for future, number in running.items():
                if not future.cancelled():
                    _keep(future, number, results, failed)
            if failed:
                raise failed[min(failed)]
        except BrokenProcessPool:
            raise UserError(
                f"{description}: the system has ended a process, as it does when the memory is "
                "full; close other programs, or give fewer --cores"
            ) from None
        return [results[number] for number in range(len(results))]


def _keep(
    future: Future[Result],
    number: int,
    results: dict[int, Result],
    failed: dict[int, BaseException],
) -> None:
    """Keep what has become of a task, under its number."""
    error = future.exception()
    if error is None:
        results[number] = future.result()
    else:
        failed[number] = error


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
