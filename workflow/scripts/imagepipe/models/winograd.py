"""3×3 convolutions in float32 on a CPU, with a quarter of the multiplications where that pays.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308): tiles of
m × m results take (m + 2)² products per pair of channels instead of 9 · m². Relative to the norm of
the result, the rounding error is at most 4·10⁻⁶, and 10⁻⁶ for a direct convolution. It was measured
with MKL's products, on an Intel Xeon, and is left alone where PyTorch has another library.
"""

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Below so many channels, moving the tiles costs more than multiplications are spared.
LEAST_CHANNELS = 128
# With fewer tiles in a batch, transforming the weights costs more.
LEAST_TILES = 32
# Sides of tiles, and the points at which the polynomials behind them are evaluated; one more is at
# infinity. Larger tiles would cost digits.
POINTS = {2: (0, 1, -1), 3: (0, 1, -1, 2), 4: (0, 1, -1, 2, -2)}
# MKL's batched product is slow where the sum is over fewer.
LEAST_ROWS = 256


class Conv3x3(nn.Conv2d):
    """A torch.nn.Conv2d of 3×3 filters and padding 1, that is faster on a CPU in float32."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=bias
        )

    def forward(self, input: Tensor) -> Tensor:
        height, width = input.shape[2:]
        if self.stride != (1, 1) or not pays(input, self.weight, height, width):
            return super().forward(input)
        result: Tensor = Winograd.apply(input, self.weight, height, width)
        return result if self.bias is None else result + self.bias[:, None, None]

    def pooled(self, input: Tensor) -> Tensor:
        """Return the largest of each 2×2 results, of a convolution with stride 1 and no bias.

        Such a pooling leaves out the last row and column of an image with an odd size. On a CPU
        they are not computed.
        """
        height, width = (size - size % 2 for size in input.shape[2:])
        if pays(input, self.weight, height, width):
            result: Tensor = Winograd.apply(input, self.weight, height, width)
        elif input.device.type == "cpu" and input.shape[2] % 2 and input.shape[3] % 2:
            result = F.conv2d(F.pad(input, (1, 0, 1, 0)), self.weight)
        else:
            result = self.forward(input)
        return F.max_pool2d(result, 2)


def pays(x: Tensor, weight: Tensor, height: int, width: int) -> bool:
    """Say whether a convolution of images [N, C, H, W] with filters [K, C, 3, 3] is faster so.

    Of the results, height · width are wanted.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return False
    if torch.compiler.is_compiling() or min(weight.shape[:2]) < LEAST_CHANNELS:
        return False
    side = tile_side(height, width)
    return len(x) * math.ceil(height / side) * math.ceil(width / side) >= LEAST_TILES


def tile_side(height: int, width: int) -> int:
    """Return the side of the tiles that cover an image with the fewest products."""

    def products(side: int) -> int:
        return (side + 2) ** 2 * math.ceil(height / side) * math.ceil(width / side)

    return min(POINTS, key=products)


@cache
def transforms(side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the matrices of tiles: of their results, filters and inputs.

    They are float32 [side², (side + 2)²], [(side + 2)², 9] and [(side + 2)², (side + 2)²]; a tile's
    pixels are one axis, row by row. In the paper's words, Aᵀ ⊗ Aᵀ, G ⊗ G and Bᵀ ⊗ Bᵀ.
    """
    points = POINTS[side]

    def powers(count: int) -> Tensor:
        rows = [[float(point) ** power for power in range(count)] for point in points]
        return torch.tensor([*rows, [0.0] * (count - 1) + [1.0]], dtype=torch.float64)

    # So that the inputs are multiplied by whole numbers.
    gaps = [math.prod(p - q for q in points if q != p) for p in points] + [1]
    scale = torch.tensor(gaps, dtype=torch.float64)[:, None]
    results, filters = powers(side).T, powers(3) / scale
    inputs = torch.linalg.inv(powers(side + 2)).T * scale
    of_results, of_filters, of_inputs = (
        torch.kron(matrix, matrix).float() for matrix in (results, filters, inputs)
    )
    return of_results, of_filters, of_inputs


class Winograd(torch.autograd.Function):
    """A 3×3 convolution with padding 1 of float32 images, and its gradients.

    Images are [N, C, H, W] and filters [K, C, 3, 3]; both are best in channels_last layout, in
    which the results are. Of these, the first `height` rows and `width` columns are computed, which
    are all, or all but the last.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, height: int, width: int) -> Tensor:
        side = tile_side(height, width)
        down, across = math.ceil(height / side), math.ceil(width / side)
        tiles = transformed_tiles(x.permute(0, 2, 3, 1), side, down, across)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(tiles, weight)
            ctx.shape = x.shape
        products = torch.bmm(tiles, transformed_filters(weight, side).mT)
        results = torch.mm(transforms(side)[0], products.flatten(1))
        results = results.view(side, side, len(x), down, across, len(weight))
        image = results.permute(2, 3, 0, 4, 1, 5).reshape(
            len(x), down * side, across * side, len(weight)
        )
        return image[:, :height, :width].contiguous().permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tiles, weight = ctx.saved_tensors
        images, height, width = len(gradient), *gradient.shape[2:]
        side = tile_side(height, width)
        down, across = math.ceil(height / side), math.ceil(width / side)
        of_results, of_filters, of_inputs = transforms(side)

        outside = (0, 0, 0, across * side - width, 0, down * side - height)
        parts = F.pad(gradient.permute(0, 2, 3, 1), outside)
        parts = parts.view(images, down, side, across, side, len(weight))
        parts = parts.permute(2, 4, 0, 1, 3, 5).reshape(side**2, -1)
        products = torch.mm(of_results.T, parts).view(len(of_inputs), -1, len(weight))
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_tiles = torch.bmm(products, transformed_filters(weight, side))
            of_tiles = torch.mm(of_inputs.T, of_tiles.flatten(1))
            of_tiles = of_tiles.view(side + 2, side + 2, images, down, across, -1)
            of_x = added_tiles(of_tiles, *ctx.shape[2:]).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            of_filter_tiles = of_filters.T @ products_over_rows(products, tiles).flatten(1)
            of_weight = of_filter_tiles.view(3, 3, *weight.shape[:2]).permute(2, 3, 0, 1)
        return of_x, of_weight, None, None


def transformed_tiles(x: Tensor, side: int, down: int, across: int) -> Tensor:
    """Return the transformed tiles [(side + 2)², N · down · across, C] of images [N, H, W, C].

    The tiles cover the image, but for at most one row and column beyond their results.
    """
    images, height, width, channels = x.shape
    padded = F.pad(x, (0, 0, 1, across * side + 1 - width, 1, down * side + 1 - height))
    image, row, column, _ = padded.stride()
    # Each tile has two rows and two columns in common with the next one.
    tiles = padded.as_strided(
        (side + 2, side + 2, images, down, across, channels),
        (row, column, image, side * row, side * column, 1),
    )
    numbers = tiles.reshape((side + 2) ** 2, -1)
    return torch.mm(transforms(side)[2], numbers).view(len(numbers), -1, channels)


def transformed_filters(weight: Tensor, side: int) -> Tensor:
    """Return the transformed filters [(side + 2)², K, C] of filters [K, C, 3, 3]."""
    numbers = weight.permute(2, 3, 0, 1).reshape(9, -1)
    return torch.mm(transforms(side)[1], numbers).view(-1, *weight.shape[:2])


def added_tiles(tiles: Tensor, height: int, width: int) -> Tensor:
    """Return images [N, height, width, C] to which tiles add up where they lie over each other.

    tiles: [side + 2, side + 2, N, down, across, C], of which the first begin one pixel outside.
    """
    side = len(tiles) - 2
    images, down, across, channels = tiles.shape[2:]
    result = tiles.new_empty(images, down * side + 2, across * side + 2, channels)
    result[:, -2:] = 0
    result[:, :-2, -2:] = 0
    image, row, column, _ = result.stride()
    strides = (image, side * row, row, side * column, column, 1)
    tiles = tiles.permute(2, 3, 0, 4, 1, 5)

    def under(rows: int, columns: int, start: int) -> Tensor:
        return result.as_strided((images, down, rows, across, columns, channels), strides, start)

    under(side, side, 0).copy_(tiles[:, :, :side, :, :side])
    under(2, side, side * row).add_(tiles[:, :, side:, :, :side])
    under(side, 2, side * column).add_(tiles[:, :, :side, :, side:])
    under(2, 2, side * (row + column)).add_(tiles[:, :, side:, :, side:])
    return result[:, 1 : height + 1, 1 : width + 1].contiguous()


def products_over_rows(left: Tensor, right: Tensor) -> Tensor:
    """Return leftᵀ · right, [B, K, C], of matrices [B, rows, K] and [B, rows, C]."""
    if left.shape[1] >= LEAST_ROWS:
        return torch.bmm(left.mT, right)
    result = left.new_empty(len(left), left.shape[2], right.shape[2])
    for first, second, product in zip(left, right, result, strict=True):
        torch.mm(first.T, second, out=product)
    return result
