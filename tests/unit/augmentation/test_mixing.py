"""Mixup and cutmix: what of an image and of its label is left, and what its partner gives."""

import torch
from torch.nn import functional as F

from imagepipe.augmentation.mixing import Mixed, blended, mix, patched
from imagepipe.augmentation.transforms import draw
from imagepipe.training.optimizers import loss_of_each
from training_builders import complete_recipe


def options(**changes: float) -> dict[str, object]:
    augmentation: dict[str, object] = complete_recipe(augmentation=changes)["augmentation"]
    return augmentation


def test_without_mixing_images_and_labels_stay() -> None:
    images, labels = torch.randn(5, 3, 8, 8), torch.arange(5)
    draws = draw(options(), 5, 8, seed=0, epoch=0)
    same, mixed = mix(images, labels, options(), draws)
    assert torch.equal(same, images)
    assert mixed.partner_labels is None


def test_mixup_blends_an_image_with_the_one_at_the_other_end() -> None:
    images, labels = torch.randn(5, 3, 8, 8), torch.arange(5)
    draws = draw(options(mixup=1.0), 5, 8, seed=0, epoch=0)
    blends, mixed = mix(images, labels, options(mixup=1.0), draws)
    assert mixed.partner_labels is not None
    assert mixed.share is not None
    assert mixed.partner_labels.tolist() == [4, 3, 2, 1, 0]
    for index in range(5):
        share = mixed.share[index]
        expected = share * images[index] + (1 - share) * images[4 - index]
        torch.testing.assert_close(blends[index], expected)


def test_blending_ends_at_either_image() -> None:
    one, other = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    result = blended(one, other, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(result[0], one[0])
    torch.testing.assert_close(result[1], other[1])


def test_cutmix_replaces_a_square_and_the_share_is_what_is_left() -> None:
    count = 200
    draws = draw(options(cutmix=1.0), count, 32, seed=0, epoch=0)
    own, partner = torch.zeros(count, 3, 32, 32), torch.ones(count, 3, 32, 32)
    results, share = patched(own, partner, draws.share, draws.cutmix_row, draws.cutmix_column)
    torch.testing.assert_close(share, 1 - results[:, 0].mean(dim=(1, 2)))
    for result in results[:, 0]:
        rows, columns = result.sum(dim=1), result.sum(dim=0)
        height, width = (rows > 0).sum(), (columns > 0).sum()
        assert result.sum() == height * width
    # What is beyond the edge is lost, so that more is left than was drawn.
    assert 0.5 < share.mean() < 0.75


def test_a_square_inside_the_image_has_the_area_that_was_drawn() -> None:
    middle, share = torch.full((1,), 0.5), torch.tensor([0.75])
    result, left = patched(
        torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32), share, middle, middle
    )
    assert left.item() == 0.75
    assert result[0, 0, 8:24, 8:24].min() == 1


def test_shares_are_of_the_beta_distribution() -> None:
    for alpha in (0.2, 1.0, 4.0):
        share = draw(options(mixup=alpha), 20_000, 32, seed=0, epoch=0).share
        assert share.min() >= 0 and share.max() <= 1
        assert abs(share.mean().item() - 0.5) < 0.01
        assert abs(share.var().item() - 1 / (4 * (2 * alpha + 1))) < 0.005


def test_the_loss_of_a_mixed_image_is_that_with_its_mixed_target() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    mixed = Mixed(labels, labels.flip(0), torch.tensor([0.9, 0.5, 0.2, 1.0]))
    ours = loss_of_each(logits, mixed, {"label_smoothing": 0.0})
    targets = torch.zeros(4, 3)
    for index, share in enumerate(mixed.share.tolist()):  # type: ignore[union-attr]
        targets[index, labels[index]] += share
        targets[index, labels[3 - index]] += 1 - share
    torch.testing.assert_close(ours, F.cross_entropy(logits, targets, reduction="none"))
