"""Tasks in several processes: their results in order, their errors, and how far they are."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from builders import refused
from imagepipe import parallel
from imagepipe.parallel import Advance, run_tasks
from parallel_tasks import die, refuse_three, square


def run(function: Callable[[int, Advance], object], workers: int, total: int = 28) -> list:
    return run_tasks(
        function,
        range(8),
        workers,
        total=total,
        description="square",
        unit="numbers",
        units_per_process=1,
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(workers: int) -> None:
    results, processes = zip(*run(square, workers), strict=True)
    assert list(results) == [n * n for n in range(8)]
    assert (os.getpid() in processes) is (workers == 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_units_that_are_done_are_counted(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []

    class Bar:
        def advance(self, units: int) -> None:
            done.append(units)

    @contextmanager
    def counter(**_: object) -> Iterator[Bar]:
        yield Bar()

    monkeypatch.setattr(parallel, "counter", counter)
    run(square, workers)
    assert sum(done) == sum(range(8))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_task_refuses_reaches_the_caller(workers: int) -> None:
    with refused("three: is refused"):
        run(refuse_three, workers)


def test_process_that_is_killed_ends_in_one_line() -> None:
    with refused("square", "the memory is full", "--cores"):
        run(die, 2)


def test_few_units_are_not_worth_a_process() -> None:
    results = run_tasks(square, [1, 2], 2, total=9, description="x", unit="y", units_per_process=10)
    assert {process for _, process in results} == {os.getpid()}
