"""The processes that share one training: what each of them takes, and what they add up."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from imagepipe.distributed.sync_batch_norm import synchronise_norms


@dataclass(frozen=True)
class Processes:
    """This process, by its number `rank` from 0, and how many there are.

    With more than one, torch.distributed's default group must have been made, and every process
    must call the methods that say so.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    @property
    def distinction(self) -> tuple[int, ...]:
        """What sets this process's random layers, such as a dropout, apart from the others'."""
        return (self.rank,) if self.count > 1 else ()

    def share(self, first: int, last: int) -> Tensor:
        """Return this process's places, int64 and ascending, of those from `first` to `last` − 1.

        With a place it also has the one as far from the other end, its partner in mixing.
        """
        if self.count == 1:
            return torch.arange(first, last)
        length = last - first
        pairs = (length + 1) // 2
        front = torch.arange(pairs * self.rank // self.count, pairs * (self.rank + 1) // self.count)
        # The middle one of an odd number is its own partner.
        both: Tensor = torch.cat((front, length - 1 - front)).unique()  # type: ignore[no-untyped-call]
        return first + both

    def largest_share(self, length: int) -> int:
        """Return how many of `length` places the process has that has the most (see `share`)."""
        pairs = (length + 1) // 2
        ends = [pairs * rank // self.count for rank in range(self.count + 1)]
        shares = [2 * (last - first) for first, last in itertools.pairwise(ends)]
        shares[-1] -= length % 2
        return max(shares)

    def add_up(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over the processes. All must call it."""
        if self.count > 1:
            dist.all_reduce(tensor)

    def wait_for_all(self) -> None:
        """Return when all processes have called it."""
        if self.count > 1:
            dist.all_reduce(torch.zeros(1))

    def part(self, length: int) -> slice:
        """Return this process's part of a range that is divided up in order."""
        return slice(length * self.rank // self.count, length * (self.rank + 1) // self.count)

    def together(self, part: Tensor) -> Tensor:
        """Return all processes' parts [n, …] on the CPU, one after the other. All must call it."""
        if self.count == 1:
            return part
        parts: list[Tensor] = [torch.empty(0)] * self.count
        dist.all_gather_object(parts, part)
        return torch.cat(parts)

    def of_first(self, values: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
        """Return what `values` gives in the first process, which alone calls it.

        All must call this.
        """
        found: list[Any] = [values() if self.is_first else None]
        if self.count > 1:
            dist.broadcast_object_list(found, src=0, device=torch.device("cpu"))
        return tuple(found[0])

    def share_gradients(self, network: nn.Module, *, some_at_rest: bool) -> nn.Module:
        """Return the network in a form whose backward pass gives all processes the mean gradient.

        `some_at_rest` says that parameters may lose their gradient on the way. All must call it.
        """
        if self.count == 1:
            return network
        return nn.parallel.DistributedDataParallel(
            network, broadcast_buffers=False, find_unused_parameters=some_at_rest
        )

    def share_statistics(self, model: nn.Module) -> nn.Module:
        """Return the model with batch normalisation over the batches of all processes."""
        return model if self.count == 1 else synchronise_norms(model)


ALONE = Processes()
