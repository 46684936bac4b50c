"""Layers shared by several networks."""

from torch import Tensor, nn
from torch.nn import functional as F

from imagepipe.models.winograd import WinogradConvolution, is_faster


class Conv3x3(nn.Conv2d):
    """A torch.nn.Conv2d with 3×3 filters and padding 1 that is faster in float32 on a CPU."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=bias
        )

    def forward(self, input: Tensor) -> Tensor:
        height, width = input.shape[2:]
        if self.stride != (1, 1) or not is_faster(input, self.weight, height, width):
            return super().forward(input)
        output: Tensor = WinogradConvolution.apply(input, self.weight, height, width)
        return output if self.bias is None else output + self.bias[:, None, None]

    def forward_and_pool(self, input: Tensor) -> Tensor:
        """Return the output after max pooling by 2; the convolution has stride 1 and no bias.

        Pooling drops the last row and column of an image of odd size. A CPU does not compute them.
        """
        height, width = (size - size % 2 for size in input.shape[2:])
        if is_faster(input, self.weight, height, width):
            output: Tensor = WinogradConvolution.apply(input, self.weight, height, width)
        elif input.device.type == "cpu" and input.shape[2] % 2 and input.shape[3] % 2:
            output = F.conv2d(F.pad(input, (1, 0, 1, 0)), self.weight)
        else:
            output = self.forward(input)
        return F.max_pool2d(output, 2)


def global_max_pool(features: Tensor) -> Tensor:
    """Return each channel's maximum, [N, C], of features [N, C, H, W].

    The gradient of max_pool2d goes to the stored position of the maximum. That of torch.amax
    compares values instead, and is NaN in a compiled network: there, PyTorch skips the rounding to
    bf16 between fused operations, so that no value equals the maximum.
    """
    return F.max_pool2d(features, features.shape[2:]).flatten(1)
