"""Random numbers that depend on the seed and their purpose only."""

import itertools

import torch

from imagepipe.augmentation.randomness import derived_seed, generator, seed_layers


def test_a_purpose_has_the_same_numbers_whatever_else_is_drawn() -> None:
    torch.manual_seed(1)
    first = torch.rand(5, generator=generator(3, "order", 2))
    torch.manual_seed(2)
    torch.rand(7)
    torch.rand(7, generator=generator(3, "flip", 2))
    assert torch.equal(torch.rand(5, generator=generator(3, "order", 2)), first)


def test_drawing_for_a_purpose_leaves_the_global_stream_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    torch.rand(5, generator=generator(1, "order", 0))
    assert torch.equal(torch.rand(3), expected)


def test_every_seed_purpose_and_epoch_has_a_stream_of_its_own() -> None:
    names = list(itertools.product(range(12), ("order", "flip", "crop area"), range(12)))
    streams = {tuple(torch.rand(2, generator=generator(*name)).tolist()) for name in names}
    assert len(streams) == len(names)


def test_seeds_are_the_same_on_every_machine_and_in_every_version() -> None:
    # sha256("0/order/1"), its first 63 bits.
    assert derived_seed(0, "order", 1) == 0x3E4DC1A2A3D6343C


def test_layers_draw_what_they_would_after_seeding_everything() -> None:
    seed_layers(torch.device("cpu"), 3, "layers", 2, 7)
    drawn = torch.rand(4)
    torch.manual_seed(derived_seed(3, "layers", 2, 7))
    assert torch.equal(torch.rand(4), drawn)
