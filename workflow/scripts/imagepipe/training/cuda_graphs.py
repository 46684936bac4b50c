"""Training steps as CUDA graphs: a GPU records a step once, and then replays it.

A step of a small network is some hundred kernels. Python takes longer to launch them than the GPU
to run them; a graph launches them all at once
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs). A replay reads its inputs from
the tensors of the recording, and computes the same bits.
"""

import functools
import logging
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from imagepipe.device.memory import memory_is_full

logger = logging.getLogger(__name__)

# Steps before the recording, in which everything is done that happens once: memory for gradients,
# compilation, cuDNN's choice of kernels.
WARMUP_STEPS = 2


@functools.cache
def capture_stream() -> torch.cuda.Stream:
    """Return this process's only stream for graphs: cuBLAS keeps 32 MiB for each stream."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]


class CudaGraphs:
    """Runs steps on a GPU, each from the third of its kind on as the replay of a graph.

    A step is a function of tensors that changes other tensors and returns one. A step that PyTorch
    cannot record, such as one that waits for the GPU, runs kernel by kernel.
    """

    def __init__(self) -> None:
        self.stream = capture_stream()
        self.can_record = True
        self.kind: Hashable = None
        self.warmup_steps = 0
        # What a replay runs, reads and writes; None before the recording.
        self.recorded: tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor] | None = None

    def run(self, step: Callable[..., Tensor], inputs: list[Tensor], kind: Hashable) -> Tensor:
        """Return step(*inputs); the next call overwrites the result.

        `kind` stands for all that a step depends on beside the values of tensors, such as their
        shapes. Only the graph of the latest kind is kept.
        """
        if kind != self.kind:
            self.kind, self.warmup_steps, self.recorded = kind, 0, None
        if self.can_record and self.recorded is None:
            if self.warmup_steps == WARMUP_STEPS:
                self._record(step, inputs)
            self.warmup_steps += 1
        if self.recorded is None:
            return self._run_kernels(step, inputs)
        graph, graph_inputs, result = self.recorded
        torch._foreach_copy_(graph_inputs, inputs)
        graph.replay()
        return result

    def _run_kernels(self, step: Callable[..., Tensor], inputs: list[Tensor]) -> Tensor:
        """Run a step on the stream of the recording, as PyTorch's notes demand."""
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = step(*inputs)
        current.wait_stream(self.stream)
        return result

    def _record(self, step: Callable[..., Tensor], inputs: list[Tensor]) -> None:
        """Record a step with inputs of its own; this computes nothing."""
        graph, inputs = torch.cuda.CUDAGraph(), [tensor.clone() for tensor in inputs]
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.recorded = (graph, inputs, step(*inputs))
        except RuntimeError as error:
            if memory_is_full(error):
                raise
            self.recorded, self.can_record = None, False
            detail = " ".join(str(error).split())[:200]
            logger.info("each kernel of a step is launched by itself (%s)", detail)
