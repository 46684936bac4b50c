"""The processes that share one training: which images each one takes, and what they exchange."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from imagepipe.distributed.sync_batch_norm import synchronize_batch_norm

Value = TypeVar("Value")


@dataclass(frozen=True)
class ProcessGroup:
    """This process's rank, counted from 0, and the number of processes.

    With more than one, torch.distributed's default group must exist. A method that is marked
    "collective" must be called by every process.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    @property
    def seed_suffix(self) -> tuple[int, ...]:
        """Gives each process's random layers, such as dropout, numbers of their own."""
        return (self.rank,) if self.world_size > 1 else ()

    def shard(self, length: int) -> Tensor:
        """Return this process's positions in a batch of `length` images, int64 and ascending.

        Position p comes with its partner in mixing, length − 1 − p.
        """
        if self.world_size == 1:
            return torch.arange(length)
        pairs = self.chunk((length + 1) // 2)
        front = torch.arange(pairs.start, pairs.stop)
        # The middle image of an odd number is its own partner.
        positions: Tensor = torch.cat((front, length - 1 - front)).unique()  # type: ignore[no-untyped-call]
        return positions

    def largest_shard(self, length: int) -> int:
        """Return the number of images in the largest of the processes' shards."""
        pairs = (length + 1) // 2
        most_pairs = math.ceil(pairs / self.world_size)
        # The middle image is in the last shard, which may be the only one with the most pairs.
        only_the_last = pairs - self.world_size * (most_pairs - 1) == 1
        return 2 * most_pairs - (length % 2 if only_the_last else 0)

    def chunk(self, length: int) -> slice:
        """Return this process's chunk of a range that is divided in order."""
        return slice(
            length * self.rank // self.world_size, length * (self.rank + 1) // self.world_size
        )

    def all_reduce(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over the processes (collective)."""
        if self.world_size > 1:
            dist.all_reduce(tensor)

    def all_gather(self, chunk: Tensor) -> Tensor:
        """Return all processes' chunks [n, …], on the CPU and in order (collective)."""
        if self.world_size == 1:
            return chunk
        chunks: list[Tensor] = [torch.empty(0)] * self.world_size
        dist.all_gather_object(chunks, chunk)
        return torch.cat(chunks)

    def barrier(self) -> None:
        """Wait until every process is here (collective)."""
        # On the CPU: dist.barrier would take a GPU.
        self.all_reduce(torch.zeros(1))

    def from_first(self, compute: Callable[[], Value]) -> Value:
        """Return what `compute` returns in the first process, which alone calls it (collective)."""
        if self.world_size == 1:
            return compute()
        values = [compute() if self.is_first else None]
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]  # type: ignore[return-value]

    def synchronize_gradients(self, network: nn.Module, *, freezes: bool) -> nn.Module:
        """Return a network whose backward pass averages gradients over the processes (collective).

        With `freezes`, parameters may stop requiring a gradient later.
        """
        if self.world_size == 1:
            return network
        return nn.parallel.DistributedDataParallel(
            network, broadcast_buffers=False, find_unused_parameters=freezes
        )

    def synchronize_batch_norm(self, model: nn.Module) -> nn.Module:
        """Return the model with batch normalization over the batches of all processes."""
        return model if self.world_size == 1 else synchronize_batch_norm(model)


SINGLE_PROCESS = ProcessGroup()
