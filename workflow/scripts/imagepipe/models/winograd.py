"""3×3 convolutions in float32 on a CPU with as few as a quarter of the multiplications.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308): a tile of
m × m outputs takes (m + 2)² products per pair of channels instead of 9 · m². Relative to the norm
of the output, the rounding error is at most 4·10⁻⁶, against 10⁻⁶ for a direct convolution. Speed
and error were measured with MKL on an Intel Xeon; without MKL, PyTorch's own convolution is used.
"""

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# With fewer channels, moving the tiles costs more than is saved.
MIN_CHANNELS = 128
# With fewer tiles in a batch, transforming the weights costs more than is saved.
MIN_TILES = 32
# MKL's batched product is slow for sums over fewer rows.
MIN_ROWS = 256
# For each tile size m, the points of polynomial evaluation, besides infinity. Larger tiles would
# lose digits.
POINTS = {2: (0, 1, -1), 3: (0, 1, -1, 2), 4: (0, 1, -1, 2, -2)}


def is_faster(x: Tensor, weight: Tensor, height: int, width: int) -> bool:
    """Say whether Winograd's algorithm is faster for images [N, C, H, W], filters [K, C, 3, 3].

    height, width: the size of the output that is wanted.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return False
    if torch.compiler.is_compiling() or min(weight.shape[:2]) < MIN_CHANNELS:
        return False
    _, rows, columns = tiling(height, width)
    return len(x) * rows * columns >= MIN_TILES


def tiling(height: int, width: int) -> tuple[int, int, int]:
    """Return the tiles that cover an output with the fewest products: size, rows and columns."""
    tilings = [(size, math.ceil(height / size), math.ceil(width / size)) for size in POINTS]
    return min(tilings, key=lambda tiles: (tiles[0] + 2) ** 2 * tiles[1] * tiles[2])


@cache
def transforms(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the transforms of outputs, filters and inputs for tiles of m = `size`.

    The paper's Aᵀ ⊗ Aᵀ, G ⊗ G and Bᵀ ⊗ Bᵀ: float32 [m², (m + 2)²], [(m + 2)², 9] and
    [(m + 2)², (m + 2)²]. The pixels of a tile are one axis, row by row.
    """
    points = POINTS[size]

    def powers(count: int) -> Tensor:
        rows = [[float(point) ** power for power in range(count)] for point in points]
        return torch.tensor([*rows, [0.0] * (count - 1) + [1.0]], dtype=torch.float64)

    # This scale makes the input transform a matrix of whole numbers.
    gaps = [math.prod(p - q for q in points if q != p) for p in points] + [1]
    scale = torch.tensor(gaps, dtype=torch.float64)[:, None]
    one_axis = powers(size).T, powers(3) / scale, torch.linalg.inv(powers(size + 2)).T * scale
    outputs, filters, inputs = (torch.kron(matrix, matrix).float() for matrix in one_axis)
    return outputs, filters, inputs


class WinogradConvolution(torch.autograd.Function):
    """A 3×3 convolution with padding 1 of float32 images [N, C, H, W], filters [K, C, 3, 3].

    It computes the first `height` rows and `width` columns of the output: all, or all but the last.
    Inputs are best in channels_last layout. The output is in that layout.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, height: int, width: int) -> Tensor:
        size, rows, columns = tiling(height, width)
        tiles = transform_input(x.permute(0, 2, 3, 1), size, rows, columns)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(tiles, weight)
            ctx.shape = x.shape
        products = torch.bmm(tiles, transform_filters(weight, size).mT)
        output = torch.mm(transforms(size)[0], products.flatten(1))
        output = output.view(size, size, len(x), rows, columns, len(weight))
        output = output.permute(2, 3, 0, 4, 1, 5)
        output = output.reshape(len(x), rows * size, columns * size, len(weight))
        return output[:, :height, :width].contiguous().permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        tiles, weight = ctx.saved_tensors
        images, height, width = len(grad), *grad.shape[2:]
        size, rows, columns = tiling(height, width)
        outputs, filters, inputs = transforms(size)

        padding = (0, 0, 0, columns * size - width, 0, rows * size - height)
        grad = F.pad(grad.permute(0, 2, 3, 1), padding)
        grad = grad.view(images, rows, size, columns, size, len(weight))
        grad = grad.permute(2, 4, 0, 1, 3, 5).reshape(size**2, -1)
        grad_products = torch.mm(outputs.T, grad).view(len(inputs), -1, len(weight))
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_tiles = torch.bmm(grad_products, transform_filters(weight, size))
            grad_tiles = torch.mm(inputs.T, grad_tiles.flatten(1))
            grad_tiles = grad_tiles.view(size + 2, size + 2, images, rows, columns, -1)
            grad_x = overlap_add(grad_tiles, *ctx.shape[2:]).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            grad_filters = filters.T @ transposed_product(grad_products, tiles).flatten(1)
            grad_weight = grad_filters.view(3, 3, *weight.shape[:2]).permute(2, 3, 0, 1)
        return grad_x, grad_weight, None, None


def transform_input(x: Tensor, size: int, rows: int, columns: int) -> Tensor:
    """Return the transformed tiles [(size + 2)², N · rows · columns, C] of images [N, H, W, C]."""
    images, height, width, channels = x.shape
    padded = F.pad(x, (0, 0, 1, columns * size + 1 - width, 1, rows * size + 1 - height))
    image, row, column, _ = padded.stride()
    # Neighboring tiles overlap by two rows or two columns.
    tiles = padded.as_strided(
        (size + 2, size + 2, images, rows, columns, channels),
        (row, column, image, size * row, size * column, 1),
    )
    flat = tiles.reshape((size + 2) ** 2, -1)
    return torch.mm(transforms(size)[2], flat).view(len(flat), -1, channels)


def transform_filters(weight: Tensor, size: int) -> Tensor:
    """Return the transformed filters [(size + 2)², K, C] of filters [K, C, 3, 3]."""
    flat = weight.permute(2, 3, 0, 1).reshape(9, -1)
    return torch.mm(transforms(size)[1], flat).view(-1, *weight.shape[:2])


def overlap_add(tiles: Tensor, height: int, width: int) -> Tensor:
    """Return images [N, height, width, C], the sum of overlapping tiles.

    tiles: [size + 2, size + 2, N, rows, columns, C]; the first one starts a pixel outside.
    """
    size = len(tiles) - 2
    images, rows, columns, channels = tiles.shape[2:]
    result = tiles.new_empty(images, rows * size + 2, columns * size + 2, channels)
    result[:, -2:] = 0
    result[:, :-2, -2:] = 0
    image, row, column, _ = result.stride()
    strides = (image, size * row, row, size * column, column, 1)
    tiles = tiles.permute(2, 3, 0, 4, 1, 5)

    def blocks(height: int, width: int, offset: int) -> Tensor:
        return result.as_strided((images, rows, height, columns, width, channels), strides, offset)

    blocks(size, size, 0).copy_(tiles[:, :, :size, :, :size])
    blocks(2, size, size * row).add_(tiles[:, :, size:, :, :size])
    blocks(size, 2, size * column).add_(tiles[:, :, :size, :, size:])
    blocks(2, 2, size * (row + column)).add_(tiles[:, :, size:, :, size:])
    return result[:, 1 : height + 1, 1 : width + 1].contiguous()


def transposed_product(left: Tensor, right: Tensor) -> Tensor:
    """Return leftᵀ · right, [B, K, C], of matrices [B, rows, K] and [B, rows, C]."""
    if left.shape[1] >= MIN_ROWS:
        return torch.bmm(left.mT, right)
    result = left.new_empty(len(left), left.shape[2], right.shape[2])
    for one, other, product in zip(left, right, result, strict=True):
        torch.mm(one.T, other, out=product)
    return result
