"""Which steps are launched kernel by kernel, and which as a graph; the GPU is a stand-in."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch

from imagepipe.training import cuda_graphs
from imagepipe.training.cuda_graphs import CudaGraphs


class NoStream:
    def wait_stream(self, other: Any) -> None:
        pass


class Recorder:
    """A step that doubles its input, and graphs of it: what is recorded is not yet computed."""

    def __init__(self, patch: pytest.MonkeyPatch, failure: RuntimeError | None = None) -> None:
        self.recording, self.launched, self.recordings = False, 0, 0
        self.failure = failure
        self.graphs: CudaGraphs | None = None
        recorder = self

        class Graph:
            def replay(self) -> None:
                assert recorder.graphs is not None
                recorded = recorder.graphs.recorded
                assert recorded is not None
                _, inputs, result = recorded
                result.copy_(2 * inputs[0])

        @contextmanager
        def record(graph: Graph, stream: NoStream) -> Iterator[None]:
            self.recording = True
            try:
                yield
            finally:
                self.recording = False

        patch.setattr(cuda_graphs, "capture_stream", NoStream)
        patch.setattr(torch.cuda, "CUDAGraph", Graph)
        patch.setattr(torch.cuda, "graph", record)
        patch.setattr(torch.cuda, "stream", lambda _: nullcontext())
        patch.setattr(torch.cuda, "current_stream", NoStream)
        self.graphs = CudaGraphs()

    def step(self, number: torch.Tensor) -> torch.Tensor:
        if self.recording:
            self.recordings += 1
            if self.failure is not None:
                raise self.failure
            return torch.full_like(number, -1)
        self.launched += 1
        return 2 * number

    def run(self, number: float, kind: str) -> float:
        assert self.graphs is not None
        return float(self.graphs.run(self.step, [torch.tensor(number)], kind))


def test_from_the_third_of_a_kind_on_steps_are_a_graph_of_their_own_inputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder(monkeypatch)
    assert [recorder.run(number, "small") for number in range(6)] == [0, 2, 4, 6, 8, 10]
    assert (recorder.launched, recorder.recordings) == (2, 1)


def test_another_kind_of_step_is_recorded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    kinds = ["small"] * 4 + ["large"] * 4
    assert [recorder.run(number, kinds[number]) for number in range(8)] == list(range(0, 16, 2))
    assert (recorder.launched, recorder.recordings) == (4, 2)


def test_what_cannot_be_recorded_is_launched_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(monkeypatch, RuntimeError("operation not permitted"))
    with caplog.at_level("INFO"):
        kinds = ["small"] * 4 + ["large"] * 2
        results = [recorder.run(number, kinds[number]) for number in range(6)]
    assert results == [0, 2, 4, 6, 8, 10]
    assert (recorder.launched, recorder.recordings) == (6, 1)
    assert "launched by itself (operation not permitted)" in caplog.text


def test_a_full_memory_is_for_those_who_know_smaller_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    for number in range(2):
        recorder.run(number, "small")
    with pytest.raises(torch.OutOfMemoryError):
        recorder.run(2, "small")
