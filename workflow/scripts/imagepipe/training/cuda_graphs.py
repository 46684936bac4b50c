"""Training steps as CUDA graphs: a GPU is told once what a step is, and from then on to repeat it.

A step of a small network is some hundred kernels, which take Python longer to launch than the GPU
to run. A graph of them is launched at once
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs). It reads what differs from step
to step where the step that it was made of had it, and computes the same bits.
"""

import functools
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from imagepipe.device.memory import memory_is_full

logger = logging.getLogger(__name__)

# Steps of a kind that are launched as they are, so that all that is done once is done: memory for
# gradients, the compiler's work, cuDNN's choice of kernels.
STEPS_BEFORE_RECORDING = 2


@functools.cache
def stream_of_graphs() -> torch.cuda.Stream:
    """Return the one stream of this process for them: cuBLAS keeps 32 MiB for each stream."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class RecordedStep:
    """A graph, and the tensors that it reads and writes in every replay."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    result: Tensor


class GraphedSteps:
    """Calls functions of a GPU's tensors, which change others and return one, as graphs.

    Where PyTorch cannot make a graph, as of a network that waits for the GPU within, the function
    is called as it is.
    """

    def __init__(self) -> None:
        self.stream = stream_of_graphs()
        self.can_be_graphs = True
        self._begin(kind=None)

    def _begin(self, kind: Hashable) -> None:
        self.kind = kind
        self.recorded: RecordedStep | None = None
        self.steps_as_they_are = 0

    def take(self, step: Callable[..., Tensor], inputs: list[Tensor], kind: Hashable) -> Tensor:
        """Return step(*inputs), which holds until the next call.

        `kind` is all that a step depends on beside the values of tensors, such as their shapes.
        There is one graph at a time, of the last kind.
        """
        if kind != self.kind:
            self._begin(kind)
        if self.can_be_graphs and self.recorded is None:
            if self.steps_as_they_are == STEPS_BEFORE_RECORDING:
                self._record(step, inputs)
            else:
                self.steps_as_they_are += 1
        if self.recorded is None:
            return self._as_it_is(step, inputs)
        torch._foreach_copy_(self.recorded.inputs, inputs)
        self.recorded.graph.replay()
        return self.recorded.result

    def _as_it_is(self, step: Callable[..., Tensor], inputs: list[Tensor]) -> Tensor:
        """Call a function on the stream that graphs are made on, as PyTorch's notes ask for."""
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = step(*inputs)
        current.wait_stream(self.stream)
        return result

    def _record(self, step: Callable[..., Tensor], inputs: list[Tensor]) -> None:
        """Make a graph, with inputs of its own; nothing is computed."""
        graph, inputs = torch.cuda.CUDAGraph(), [tensor.clone() for tensor in inputs]
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                result = step(*inputs)
        except RuntimeError as error:
            if memory_is_full(error):
                raise
            self.can_be_graphs = False
            detail = " ".join(str(error).split())[:200]
            logger.info("each kernel of a step is launched by itself (%s)", detail)
            return
        self.recorded = RecordedStep(graph, inputs, result)
