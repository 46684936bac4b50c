"""Mixup and CutMix: images and labels are mixed with their partners' by the same weights."""

import torch

from imagepipe.augmentation.mixing import MixedLabels, cutmix, mix_batch, mixup
from imagepipe.augmentation.transforms import draw_augmentation
from imagepipe.config.recipe import Augmentation


def test_without_mixing_images_and_labels_stay() -> None:
    images, labels = torch.randn(5, 3, 8, 8), torch.arange(5)
    draws = draw_augmentation(Augmentation(), 5, (8, 8), seed=0, epoch=0)
    same, mixed = mix_batch(images, labels, Augmentation(), draws)
    assert torch.equal(same, images)
    assert mixed.partner_labels is None


def test_mixup_blends_an_image_with_the_one_at_the_other_end() -> None:
    images, labels = torch.randn(5, 3, 8, 8), torch.arange(5)
    draws = draw_augmentation(Augmentation(mixup=1.0), 5, (8, 8), seed=0, epoch=0)
    blends, mixed = mix_batch(images, labels, Augmentation(mixup=1.0), draws)
    assert mixed.partner_labels is not None
    assert mixed.lam is not None
    assert mixed.partner_labels.tolist() == [4, 3, 2, 1, 0]
    for index in range(5):
        lam = mixed.lam[index]
        expected = lam * images[index] + (1 - lam) * images[4 - index]
        torch.testing.assert_close(blends[index], expected)


def test_blending_ends_at_either_image() -> None:
    one, other = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    result = mixup(one, other, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(result[0], one[0])
    torch.testing.assert_close(result[1], other[1])


def test_cutmix_replaces_a_square_and_lam_is_what_is_left() -> None:
    count = 200
    draws = draw_augmentation(Augmentation(cutmix=1.0), count, (32, 32), seed=0, epoch=0)
    own, partner = torch.zeros(count, 3, 32, 32), torch.ones(count, 3, 32, 32)
    results, lam = cutmix(own, partner, draws.lam, draws.cutmix_row, draws.cutmix_column)
    torch.testing.assert_close(lam, 1 - results[:, 0].mean(dim=(1, 2)))
    for result in results[:, 0]:
        rows, columns = result.sum(dim=1), result.sum(dim=0)
        height, width = (rows > 0).sum(), (columns > 0).sum()
        assert result.sum() == height * width
    # What is beyond the edge is lost, so that more is left than was drawn.
    assert 0.5 < lam.mean() < 0.75


def test_a_square_inside_the_image_has_the_area_that_was_drawn() -> None:
    middle, lam = torch.full((1,), 0.5), torch.tensor([0.75])
    result, left = cutmix(torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32), lam, middle, middle)
    assert left.item() == 0.75
    assert result[0, 0, 8:24, 8:24].min() == 1


def test_lam_is_of_the_beta_distribution() -> None:
    for alpha in (0.2, 1.0, 4.0):
        lam = draw_augmentation(Augmentation(mixup=alpha), 20_000, (32, 32), seed=0, epoch=0).lam
        assert lam.min() >= 0 and lam.max() <= 1
        assert abs(lam.mean().item() - 0.5) < 0.01
        assert abs(lam.var().item() - 1 / (4 * (2 * alpha + 1))) < 0.005


def test_the_labels_of_some_images_are_selected_as_they_were_mixed() -> None:
    labels = torch.arange(5)
    plain = MixedLabels(labels).select(slice(1, 3))
    assert plain.labels.tolist() == [1, 2]
    assert plain.partner_labels is None
    assert plain.lam is None
    mixed = MixedLabels(labels, labels.flip(0), labels / 10).select(slice(1, 3))
    assert mixed.labels.tolist() == [1, 2]
    assert mixed.partner_labels is not None
    assert mixed.partner_labels.tolist() == [3, 2]
    assert mixed.lam is not None
    assert torch.equal(mixed.lam, torch.tensor([0.1, 0.2]))


def test_a_rectangle_has_the_shape_of_the_image() -> None:
    middle, lam = torch.full((1,), 0.5), torch.tensor([0.75])
    result, left = cutmix(torch.zeros(1, 1, 16, 40), torch.ones(1, 1, 16, 40), lam, middle, middle)
    assert left.item() == 0.75
    assert result[0, 0, 4:12, 10:30].min() == 1
    assert result.sum() == 8 * 20


def test_several_labels_are_mixed_with_the_partners() -> None:
    images, labels = torch.randn(3, 3, 8, 8), torch.tensor([[1, 0], [1, 1], [0, 0]])
    options = Augmentation(mixup=1.0)
    draws = draw_augmentation(options, 3, (8, 8), seed=0, epoch=0)
    _, mixed = mix_batch(images, labels, options, draws)
    assert mixed.partner_labels is not None
    assert mixed.partner_labels.tolist() == [[0, 0], [1, 1], [1, 0]]
    assert mixed.select(slice(1, 2)).labels.tolist() == [[1, 1]]
