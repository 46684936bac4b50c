"""The options of a recipe: how a model is trained. Every one has a default."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, Tag

from imagepipe.config.options import Options, kind

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class Network(Options):
    """A network, and what sizes of images mean to it, in pixels.

    Of images up to `one_pixel_size`, the last batch normalization sees a single pixel.
    """

    min_image_size: ClassVar[int] = 1
    one_pixel_size: ClassVar[int] = 0


class D2LResNet18(Network):
    """The ResNet-18 of Dive into Deep Learning."""

    name: Literal["d2l_resnet18"] = "d2l_resnet18"
    one_pixel_size: ClassVar[int] = 8


class Airbench(Network):
    """Three groups of convolutions behind one that whitens the image."""

    name: Literal["airbench"] = "airbench"
    one_pixel_size: ClassVar[int] = 16
    # The first convolution loses one pixel, and three poolings halve the rest.
    min_image_size: ClassVar[int] = 9
    widths: Annotated[list[Count], Field(min_length=3, max_length=3)] = [64, 256, 256]
    """Channels of the three groups."""
    convolutions: Annotated[int, Field(ge=2, le=3)] = 2
    """Convolutions in each group; with three, a group has a shortcut."""
    activation: Literal["gelu", "silu"] = "gelu"
    """Activation of the groups."""
    pooling: Literal["max", "max_plus_mean"] = "max"
    """What the last layer sees of each channel: the largest value over the image, or the sum of
    that and the mean."""
    whitening_epsilon: Positive = 5e-4
    """Added to the variance of each direction of the image patches before the first convolution
    divides by its square root. A larger value keeps noise low, such as JPEG's."""


class WideResNet(Network):
    """A residual network with few layers of many channels."""

    name: Literal["wide_resnet"] = "wide_resnet"
    one_pixel_size: ClassVar[int] = 4
    depth: Literal[10, 16, 22, 28, 34, 40] = 28
    """Number of layers: 4, and 6 for each block of a group."""
    widening_factor: Count = 10
    """The groups have this many times 16, 32 and 64 channels."""


class SmallCNN(Network):
    """Three blocks of two convolutions."""

    name: Literal["small_cnn"] = "small_cnn"
    one_pixel_size: ClassVar[int] = 4
    width: Count = 32
    """Channels of the first block; the others have 2 and 4 times as many."""


class Torchvision(Network):
    """A network of torchvision, its first layers fitted to small images."""

    name: Literal["torchvision"] = "torchvision"
    architecture: str = "resnet18"
    """The network's name in torchvision."""


class Timm(Network):
    """A network of timm, which must be installed; its first layers are fitted to small images."""

    name: Literal["timm"] = "timm"
    architecture: str = "resnet18"
    """The network's name in timm."""


Model = Annotated[
    Annotated[D2LResNet18, Tag("d2l_resnet18")]
    | Annotated[Airbench, Tag("airbench")]
    | Annotated[WideResNet, Tag("wide_resnet")]
    | Annotated[SmallCNN, Tag("small_cnn")]
    | Annotated[Torchvision, Tag("torchvision")]
    | Annotated[Timm, Tag("timm")],
    kind("small_cnn"),
]


class RandomResizedCrop(Options):
    """Enlarge the image, cut out a random square, and resize that to the image's own size."""

    resize: Count = 40
    """The size in pixels to which the image is enlarged."""
    min_area: Fraction = 0.64
    """Smallest area of the square, as a fraction of the enlarged image."""
    max_area: Fraction = 1.0
    """Largest area of the square, as a fraction of the enlarged image."""


class ColorJitter(Options):
    """Change the colors, in this order, as torchvision.transforms.ColorJitter; 0 does nothing."""

    brightness: NotNegative = 0.0
    """The factor is uniform on max(0, 1 - brightness) ... 1 + brightness."""
    contrast: NotNegative = 0.0
    """The factor is uniform on max(0, 1 - contrast) ... 1 + contrast."""
    saturation: NotNegative = 0.0
    """The factor is uniform on max(0, 1 - saturation) ... 1 + saturation."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """The shift is uniform on -hue ... hue, in turns of the color wheel."""


class Augmentation(Options):
    """Random changes of the training images, in this order, drawn anew in every epoch."""

    random_resized_crop: RandomResizedCrop | None = None
    """Cut a random square out of the enlarged image; null does not."""
    random_crop_padding: Annotated[int, Field(ge=0)] = 0
    """Shift the image by up to this many pixels each way, and mirror what is missing; 0 does
    not."""
    horizontal_flip: bool = False
    """Mirror half of the images, left to right."""
    alternating_flip: bool = False
    """With horizontal_flip, draw the mirrored images once; every second epoch mirrors the
    others, so that two epochs show each image both ways."""
    color_jitter: ColorJitter = ColorJitter()
    """Change brightness, contrast, saturation and hue."""
    cutout: Annotated[int, Field(ge=0)] = 0
    """Side in pixels of a square set to the mean color; 0 does not."""
    mixup: NotNegative = 0.0
    """Blend each image and its label with another; the weight is drawn from Beta(mixup, mixup).
    0 does not."""
    cutmix: NotNegative = 0.0
    """Replace a square of each image by another's, and as much of its label; the area that is
    left is drawn from Beta(cutmix, cutmix). 0 does not. Not with mixup."""


class ResizingStage(Options):
    """A part of the training with smaller images."""

    until: Fraction
    """The fraction of the training at which the stage ends, in whole epochs."""
    scale: Fraction
    """The factor by which the images are resized."""


class SGD(Options):
    """PyTorch's stochastic gradient descent."""

    name: Literal["sgd"] = "sgd"
    lr: Positive = 0.1
    """Learning rate: the highest of the schedule."""
    momentum: Momentum = 0.9
    """Momentum."""
    nesterov: bool = False
    """Nesterov's form of the momentum."""
    weight_decay: NotNegative = 5e-4
    """The fraction of a weight that is added to its gradient."""


class AdamW(Options):
    """PyTorch's AdamW."""

    name: Literal["adamw"] = "adamw"
    lr: Positive = 1e-3
    """Learning rate: the highest of the schedule."""
    weight_decay: NotNegative = 1e-2
    """The fraction by which a step at rate 1 shrinks a weight."""


class MuonRest(Options):
    """How Muon trains the parameters that are not convolution filters: by Nesterov's SGD."""

    lr: Positive = 0.05
    """Learning rate of biases and normalization weights."""
    head_lr: Positive = 0.05
    """Learning rate of the last linear layer."""
    momentum: Momentum = 0.85
    """Nesterov's momentum."""


class Muon(Options):
    """Muon: orthogonal steps for convolution filters, SGD for all other parameters."""

    name: Literal["muon"] = "muon"
    lr: Positive = 0.1
    """Learning rate of the filters: the highest one."""
    momentum: Momentum = 0.9
    """Nesterov's momentum of the filters."""
    weight_decay: NotNegative = 5e-4
    """The fraction by which a step at the highest rate shrinks the other parameters; filters
    keep their norm."""
    ns_steps: Count = 3
    """Newton-Schulz iterations that orthogonalize a step."""
    rest: MuonRest = MuonRest()
    """How the other parameters are trained."""


Optimizer = Annotated[
    Annotated[SGD, Tag("sgd")] | Annotated[AdamW, Tag("adamw")] | Annotated[Muon, Tag("muon")],
    kind("sgd"),
]


class Schedule(Options):
    """How the learning rate changes over the training."""

    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The fraction of the training in which the rate rises from 0."""


class StepSchedule(Schedule):
    """The rate is multiplied by `decay` every `period` epochs."""

    name: Literal["step"] = "step"
    period: Count = 4
    """Epochs between two decays."""
    decay: Fraction = 0.9
    """The factor of each decay."""


class LinearSchedule(Schedule):
    """The rate falls linearly to 0."""

    name: Literal["linear"] = "linear"


class CosineSchedule(Schedule):
    """The rate falls to 0 as half a period of the cosine."""

    name: Literal["cosine"] = "cosine"


class OneCycleSchedule(Schedule):
    """PyTorch's OneCycleLR: up from lr/25 and down to almost 0, both as a cosine."""

    name: Literal["one_cycle"] = "one_cycle"


AnySchedule = Annotated[
    Annotated[StepSchedule, Tag("step")]
    | Annotated[LinearSchedule, Tag("linear")]
    | Annotated[CosineSchedule, Tag("cosine")]
    | Annotated[OneCycleSchedule, Tag("one_cycle")],
    kind("step"),
]


class Freeze(Options):
    """Parameters that are trained in the first part of the training only.

    Their rate falls to 0 there; from then on they cost no time for gradients.
    """

    parameters: Annotated[str, Field(min_length=1)]
    """How their names begin, such as whitening or groups.0."""
    after: Annotated[float, Field(gt=0, lt=1)]
    """The fraction of the training after which they are frozen."""


class NoAveraging(Options):
    """The weights are kept as they are."""

    name: Literal["none"] = "none"


class EMA(Options):
    """An exponential moving average beside the training, which is what is kept."""

    name: Literal["ema"] = "ema"
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """The fraction of itself that the average keeps per update."""
    every: Count = 5
    """Steps from one update to the next."""


class Lookahead(Options):
    """The training itself is set back to its average every few steps."""

    name: Literal["lookahead"] = "lookahead"
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """The fraction of itself that the average keeps per step at the end of the training; it is
    less before."""
    every: Count = 5
    """Steps from one update to the next."""


Averaging = Annotated[
    Annotated[NoAveraging, Tag("none")]
    | Annotated[EMA, Tag("ema")]
    | Annotated[Lookahead, Tag("lookahead")],
    kind("none"),
]


class Loss(Options):
    """Cross-entropy."""

    reduction: Literal["sum", "mean"] = "mean"
    """Of the losses of a batch. At batch size B, a learning rate r with sum is one of r * B
    with mean."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The fraction of the target's probability that is spread over all classes."""


Precision = Literal["auto", "fp32", "bf16", "fp16"]
TestTimeAugmentation = Literal["none", "flip", "flip_and_shift"]


class Recipe(Options):
    """How a model is trained. Every key has a default, so that a recipe names what it changes."""

    title: str = ""
    """What the recipe is for, in one line."""
    members: Count = 1
    """Number of models, each with a seed of its own, whose probabilities are averaged, unless
    config.yaml gives another."""
    model: Model = SmallCNN()
    """The network."""
    augmentation: Augmentation = Augmentation()
    """Random changes of the training images."""
    progressive_resizing: list[ResizingStage] = []
    """Train on smaller images first, which takes less time. Each stage lasts until a fraction
    of the training is done; the rest trains on the images' own size."""
    batch_size: Count = 64
    """Number of images for one step of the optimizer."""
    micro_batch_size: Annotated[int | None, Field(ge=1)] = None
    """Number of images that go through the network at once, at most: a larger batch is divided,
    and the gradients are added up. It takes less memory; batch normalization sees each part by
    itself. null takes whole batches."""
    min_steps_per_epoch: Count = 1
    """Where there are too few training images for this many batches, the batches are made
    smaller, so that a recipe for many images works for few."""
    drop_last: bool = True
    """Leave out an epoch's last batch if it is smaller than the others, unless it is the only
    one."""
    epochs: Count = 20
    """Number of passes over the training images."""
    optimizer: Optimizer = SGD()
    """How the weights are changed."""
    schedule: AnySchedule = StepSchedule()
    """How the learning rate changes."""
    freeze: list[Freeze] = []
    """Parameters that are trained in the first part of the training only."""
    averaging: Averaging = NoAveraging()
    """Average the weights, and the batch statistics, over training."""
    loss: Loss = Loss()
    """Cross-entropy."""
    precision: Precision = "auto"
    """Of the network's arithmetic: fp32, bf16, fp16 (on GPUs; its losses are scaled), or auto:
    bf16 where a GPU computes in it, or the processor is faster in it, which is measured once;
    otherwise fp32. The weights stay fp32."""
    tf32: bool = False
    """Let CUDA GPUs compute in TF32, with 10 instead of 23 bits of mantissa, where the
    precision is fp32."""
    deterministic: bool = True
    """On CUDA GPUs, take only kernels that give the same bits every time, which costs 3 to 8%
    of the speed on an H200. On the CPU all of them do."""
    compile: bool = False
    """Compile the network by torch.compile, which needs a C++ compiler on the CPU; it takes
    about a minute there and gains little. On a GPU it pays for long trainings."""
    test_time_augmentation: TestTimeAugmentation = "none"
    """flip averages the logits of an image and its mirror image; flip_and_shift also those of
    both shifted by a pixel, two ways, where the first two are unsure. In prediction and in the
    last validation."""
