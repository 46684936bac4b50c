"""The options of a recipe: how to train a model. Each has a default."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, Tag

from imagepipe.config.dataset import ImageSize
from imagepipe.config.options import Options, kind

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class Network(Options):
    """A network, and its limits on image size, in pixels.

    Images up to `one_pixel_size` reach the last batch normalization as a single pixel.
    """

    min_image_size: ClassVar[int] = 1
    one_pixel_size: ClassVar[int] = 0


class D2LResNet18(Network):
    """The ResNet-18 of Dive into Deep Learning."""

    name: Literal["d2l_resnet18"] = "d2l_resnet18"
    one_pixel_size: ClassVar[int] = 8


class Airbench(Network):
    """A whitening convolution, then three groups of convolutions."""

    name: Literal["airbench"] = "airbench"
    one_pixel_size: ClassVar[int] = 16
    # The first convolution loses one pixel, and three poolings halve the rest.
    min_image_size: ClassVar[int] = 9
    widths: Annotated[list[Count], Field(min_length=3, max_length=3)] = [64, 256, 256]
    """Channels of the three groups."""
    convolutions: Annotated[int, Field(ge=2, le=3)] = 2
    """Convolutions per group; with three, each group has a shortcut."""
    activation: Literal["gelu", "silu"] = "gelu"
    """Activation of the groups."""
    pooling: Literal["max", "max_plus_mean"] = "max"
    """How the last layer pools each channel over the image: its maximum, or the sum of its
    maximum and mean."""
    whitening_epsilon: Positive = 5e-4
    """Added to the variance of the image patches in each direction before the first convolution
    divides by the square root. A larger value amplifies noise, such as JPEG's, less."""


class WideResNet(Network):
    """A wide residual network: few layers, many channels."""

    name: Literal["wide_resnet"] = "wide_resnet"
    one_pixel_size: ClassVar[int] = 4
    depth: Literal[10, 16, 22, 28, 34, 40] = 28
    """Number of layers: 4 plus 6 per block of a group."""
    widening_factor: Count = 10
    """Multiplies the groups' 16, 32 and 64 channels."""


class SmallCNN(Network):
    """Three blocks of two convolutions."""

    name: Literal["small_cnn"] = "small_cnn"
    one_pixel_size: ClassVar[int] = 4
    width: Count = 32
    """Channels of the first block; the others have 2 and 4 times as many."""


class WeightsFile(Options):
    """A file of weights to download."""

    url: str
    """Its address."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Its SHA-256, in hexadecimal digits."""


class LibraryNetwork(Network):
    """A network of a library."""

    architecture: str = "resnet18"
    """The network's name in the library."""
    weights: WeightsFile | str | None = None
    """The weights to start from: pretrained (the library's own), the path of a file, or the url and
    sha256 of one; null draws random ones. The network's normalization and interpolation come with
    them. The last layer is always new."""
    stem: Literal["original", "small"] = "original"
    """small replaces first layers that shrink images: a first convolution with a stride by a 3×3
    one without, and a max pooling after it by nothing. For images of about 32 pixels and random
    weights."""
    hidden_units: Annotated[int | None, Field(ge=1)] = None
    """Units of a hidden layer with ReLU before the last layer; null has none."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest probability of skipping a residual block in training (stochastic depth); the
    network must have it. 0 turns it off."""


class Torchvision(LibraryNetwork):
    """A torchvision network."""

    name: Literal["torchvision"] = "torchvision"


class Timm(LibraryNetwork):
    """A timm network. A tag after its name, as in resnet50.a1_in1k, takes other weights of it."""

    name: Literal["timm"] = "timm"


class FrozenNetwork(Options):
    """A pretrained network whose weights stay, and that turns each image into numbers."""

    name: Literal["torchvision", "timm"] = "timm"
    """Its library."""
    architecture: str = "tf_efficientnet_lite0"
    """The network's name in the library."""
    weights: WeightsFile | str | None = "pretrained"
    """Its weights, as those of `torchvision` and `timm`; they must be given."""
    flip: bool = False
    """Take the mean over an image and its mirror image."""

    @property
    def network(self) -> Torchvision | Timm:
        """The network as a model of its own, with random weights."""
        library = Timm if self.name == "timm" else Torchvision
        return library(architecture=self.architecture)


class FrozenFeatures(Network):
    """A model on the output of a frozen network, which is computed once for all such models."""

    on: FrozenNetwork = FrozenNetwork()
    """The network."""


class LinearHead(FrozenFeatures):
    """Logistic regression on the features of a frozen network. It needs no epochs."""

    name: Literal["linear"] = "linear"
    l2: Annotated[float | None, Field(gt=0)] = None
    """Weight of the squared norm of the weights beside the mean loss; null takes the best of some
    by cross-validation on the training images."""


class MLPHead(FrozenFeatures):
    """A network of one hidden layer on the features of a frozen network."""

    name: Literal["mlp"] = "mlp"
    hidden_units: Count = 256
    """Units of the hidden layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The fraction of the hidden units to drop in training."""


class KNNHead(FrozenFeatures):
    """The classes of the most similar training images, by the features of a frozen network."""

    name: Literal["knn"] = "knn"
    neighbors: Count = 20
    """Number of the most similar images, by the cosine of their features."""
    temperature: Positive = 0.07
    """Each one's vote weighs exp(cosine / temperature)."""


Model = Annotated[
    Annotated[D2LResNet18, Tag("d2l_resnet18")]
    | Annotated[Airbench, Tag("airbench")]
    | Annotated[WideResNet, Tag("wide_resnet")]
    | Annotated[SmallCNN, Tag("small_cnn")]
    | Annotated[Torchvision, Tag("torchvision")]
    | Annotated[Timm, Tag("timm")]
    | Annotated[LinearHead, Tag("linear")]
    | Annotated[MLPHead, Tag("mlp")]
    | Annotated[KNNHead, Tag("knn")],
    kind("small_cnn"),
]


class RandomResizedCrop(Options):
    """Enlarge the image, crop a random part, and resize that to the image's size."""

    resize: Count | None = 40
    """Length of the enlarged image's smaller side, in pixels; null crops the image as it is."""
    min_area: Fraction = 0.64
    """Smallest area of the part, as a fraction of the enlarged image."""
    max_area: Fraction = 1.0
    """Largest area of the part, as a fraction of the enlarged image."""
    max_ratio: Annotated[float, Field(ge=1)] = 1.0
    """The part's width over height, divided by the image's, is between 1 / max_ratio and
    max_ratio. For photographs, 1.33 and a min_area of 0.08 to 0.35 are usual."""


class RandomAffine(Options):
    """Rotate, shift, scale and shear the image around its center, like torchvision's RandomAffine.

    Missing pixels get the mean color.
    """

    degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    """The angle is uniform in -degrees ... degrees."""
    translate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Largest shift each way, as a fraction of the image's size."""
    min_scale: Positive = 1.0
    """Smallest factor of the size."""
    max_scale: Positive = 1.0
    """Largest factor of the size."""
    shear: Annotated[float, Field(ge=0, lt=90)] = 0.0
    """The angle of the horizontal shear is uniform in -shear ... shear degrees."""


class RandAugment(Options):
    """Random operations on each image (Cubuk et al., arXiv 1909.13719), as torchvision's."""

    operations: Count = 2
    """Operations for each image."""
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Their strength, of 0 ... 30."""


class RandomErasing(Options):
    """Set a random rectangle to the mean color (Zhong et al., arXiv 1708.04896).

    Like torchvision's RandomErasing.
    """

    probability: Fraction = 0.25
    """The fraction of the images to change."""
    min_area: Fraction = 0.02
    """Smallest area, as a fraction of the image."""
    max_area: Fraction = 0.33
    """Largest area, as a fraction of the image."""
    max_ratio: Annotated[float, Field(ge=1)] = 3.3
    """The rectangle's width over height is between 1 / max_ratio and max_ratio."""


class ColorJitter(Options):
    """Change the colors, in this order, like torchvision's ColorJitter; 0 turns a change off."""

    brightness: NotNegative = 0.0
    """The factor is uniform in max(0, 1 - brightness) ... 1 + brightness."""
    contrast: NotNegative = 0.0
    """The factor is uniform in max(0, 1 - contrast) ... 1 + contrast."""
    saturation: NotNegative = 0.0
    """The factor is uniform in max(0, 1 - saturation) ... 1 + saturation."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """The shift is uniform in -hue ... hue, in turns of the color wheel."""


class Augmentation(Options):
    """Random changes of the training images, in this order, drawn anew each epoch.

    Sizes in pixels are those of the stored images. If image_size is larger, images are enlarged
    after the change of colors, and random_resized_crop is part of that.
    """

    random_resized_crop: RandomResizedCrop | None = None
    """Crop a random part of the image; null turns it off."""
    random_crop_padding: Annotated[int, Field(ge=0)] = 0
    """Shift the image by up to this many pixels each way, with mirrored borders; 0 turns it
    off."""
    horizontal_flip: bool = False
    """Mirror half of the images, left to right."""
    alternating_flip: bool = False
    """With horizontal_flip, draw the mirrored half once, and mirror the other half in every
    second epoch, so that two epochs show each image both ways."""
    vertical_flip: bool = False
    """Mirror half of the images, top to bottom."""
    affine: RandomAffine | None = None
    """Rotate, shift, scale and shear; null turns it off."""
    trivial_augment: bool = False
    """Apply one random operation of random strength to each image: TrivialAugment (Müller and
    Hutter, arXiv 2103.10158), as torchvision's TrivialAugmentWide, but bilinear and with missing
    pixels in the mean color. Excludes rand_augment."""
    rand_augment: RandAugment | None = None
    """Apply several such operations, of one strength; null turns it off."""
    color_jitter: ColorJitter = ColorJitter()
    """Change brightness, contrast, saturation and hue."""
    cutout: Annotated[int, Field(ge=0)] = 0
    """Side in pixels of a square set to the mean color; 0 turns it off."""
    random_erasing: RandomErasing | None = None
    """Set a random rectangle to the mean color; null turns it off."""
    mixup: NotNegative = 0.0
    """Blend each image and its label with another's; the weight is drawn from
    Beta(mixup, mixup). 0 turns it off."""
    cutmix: NotNegative = 0.0
    """Replace a rectangle of each image with another's, and the same fraction of its label; the
    remaining area is drawn from Beta(cutmix, cutmix). 0 turns it off. Excludes mixup."""


class ResizingStage(Options):
    """A stage of the training with smaller images."""

    until: Fraction
    """The fraction of the training at which the stage ends, in whole epochs."""
    scale: Fraction
    """The factor for the images' size."""


class SGD(Options):
    """PyTorch's stochastic gradient descent."""

    name: Literal["sgd"] = "sgd"
    lr: Positive = 0.1
    """Peak learning rate of the schedule."""
    momentum: Momentum = 0.9
    """Momentum."""
    nesterov: bool = False
    """Use Nesterov momentum."""
    weight_decay: NotNegative = 5e-4
    """The fraction of each weight added to its gradient."""
    decay_norms_and_biases: bool = True
    """Apply weight_decay to biases and to normalization weights, too."""


class AdamW(Options):
    """PyTorch's AdamW."""

    name: Literal["adamw"] = "adamw"
    lr: Positive = 1e-3
    """Peak learning rate of the schedule."""
    weight_decay: NotNegative = 1e-2
    """The fraction by which a step at learning rate 1 shrinks each weight."""
    decay_norms_and_biases: bool = True
    """Apply weight_decay to biases and to normalization weights, too."""


class MuonRest(Options):
    """SGD with Nesterov momentum, for all parameters except convolution filters."""

    lr: Positive = 0.05
    """Learning rate of biases and normalization weights."""
    head_lr: Positive = 0.05
    """Learning rate of the last linear layer."""
    momentum: Momentum = 0.85
    """Nesterov momentum."""


class Muon(Options):
    """Muon: orthogonalized steps for convolution filters, SGD for all other parameters."""

    name: Literal["muon"] = "muon"
    lr: Positive = 0.1
    """Peak learning rate of the filters."""
    momentum: Momentum = 0.9
    """Nesterov momentum of the filters."""
    weight_decay: NotNegative = 5e-4
    """The fraction by which a step at the peak rate shrinks the other parameters; filters keep
    their norm."""
    ns_steps: Count = 3
    """Newton-Schulz iterations per step."""
    rest: MuonRest = MuonRest()
    """The optimizer of the other parameters."""


Optimizer = Annotated[
    Annotated[SGD, Tag("sgd")] | Annotated[AdamW, Tag("adamw")] | Annotated[Muon, Tag("muon")],
    kind("sgd"),
]


class Schedule(Options):
    """The learning rate over the training."""

    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The fraction of the training during which the rate rises from 0."""


class StepSchedule(Schedule):
    """The rate is multiplied by `decay` every `period` epochs."""

    name: Literal["step"] = "step"
    period: Count = 4
    """Epochs between decays."""
    decay: Fraction = 0.9
    """The factor at each decay."""


class LinearSchedule(Schedule):
    """The rate falls linearly to 0."""

    name: Literal["linear"] = "linear"


class CosineSchedule(Schedule):
    """The rate falls to 0 along half a cosine period."""

    name: Literal["cosine"] = "cosine"


class OneCycleSchedule(Schedule):
    """PyTorch's OneCycleLR: up from lr/25, then down to almost 0, both along a cosine."""

    name: Literal["one_cycle"] = "one_cycle"


AnySchedule = Annotated[
    Annotated[StepSchedule, Tag("step")]
    | Annotated[LinearSchedule, Tag("linear")]
    | Annotated[CosineSchedule, Tag("cosine")]
    | Annotated[OneCycleSchedule, Tag("one_cycle")],
    kind("step"),
]


class FineTune(Options):
    """How to train a network that starts from pretrained weights."""

    frozen_epochs: Annotated[int, Field(ge=0)] = 1
    """Epochs at the start that train only the head, the new layers; the rest is frozen."""
    linear_probe: bool = False
    """Start the head as a logistic regression on the pretrained network's features of the training
    images, instead of random weights. It suits few images, with frozen_epochs: 0."""
    lr_decay_by_layer: Fraction = 1.0
    """The learning rate of each layer, as a fraction of that of the next layer towards the
    head."""
    head_lr: Annotated[float | None, Field(gt=0)] = None
    """Peak learning rate of the head; null takes the optimizer's."""
    keep_statistics: bool = True
    """Normalize with the pretrained network's batch statistics in training, too, and keep them."""


class Freeze(Options):
    """Parameters that are frozen partway through the training.

    Their learning rate falls to 0 by then; afterwards their gradients are not computed.
    """

    parameters: Annotated[str, Field(min_length=1)]
    """A prefix of their names, such as whitening or groups.0."""
    after: Annotated[float, Field(ge=0, lt=1)]
    """The fraction of the training after which to freeze them; 0 never trains them."""


class NoAveraging(Options):
    """No averaging: the last weights are kept."""

    name: Literal["none"] = "none"


class EMA(Options):
    """Keep an exponential moving average of the weights; the training itself does not see it."""

    name: Literal["ema"] = "ema"
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """The weight of the old average in each update."""
    every: Count = 5
    """Steps between updates."""


class Lookahead(Options):
    """Reset the training to its moving average every few steps."""

    name: Literal["lookahead"] = "lookahead"
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """The weight of the old average, per step, at the end of the training; it is smaller
    before."""
    every: Count = 5
    """Steps between updates."""


Averaging = Annotated[
    Annotated[NoAveraging, Tag("none")]
    | Annotated[EMA, Tag("ema")]
    | Annotated[Lookahead, Tag("lookahead")],
    kind("none"),
]


class Loss(Options):
    """Cross-entropy; binary cross-entropy of each class where images may have several."""

    reduction: Literal["sum", "mean"] = "mean"
    """How the losses of a batch combine. At batch size B, a learning rate r with sum equals
    r * B with mean."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The fraction of the target's probability to spread over all classes."""
    focal_gamma: NotNegative = 0.0
    """Multiply each loss by (1 - p) to this power, p the probability of the right answer, so that
    sure answers count less (focal loss); 0 turns it off."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: the losses of a class are multiplied by a weight that is inverse to its number of
    training images, and 1 on average over the images."""


Fit = Literal["squash", "crop", "pad"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
TestTimeAugmentation = Literal["none", "flip", "flip_and_shift"]


class Recipe(Options):
    """How to train a model. Each key has a default, so a recipe lists only its differences."""

    title: str = ""
    """The purpose of the recipe, in one line."""
    members: Count = 1
    """Number of models, each with its own seed, whose probabilities are averaged; config.yaml
    may set another number."""
    model: Model = SmallCNN()
    """The network."""
    image_size: ImageSize | None = None
    """Height and width of the network's images in pixels (one number for both). Images are stored
    at most so large, and enlarged on the device after the augmentation. null: the dataset's own
    size, or 96 if its images differ in size."""
    fit: Fit = "squash"
    """How images of another shape become image_size: squash resizes each side, crop cuts the
    middle out, pad adds black borders."""
    augmentation: Augmentation = Augmentation()
    """Random changes of the training images."""
    progressive_resizing: list[ResizingStage] = []
    """Train on smaller images first, to save time. Each stage ends at a fraction of the
    training; the rest uses images of full size."""
    batch_size: Count = 64
    """Number of images per optimizer step."""
    micro_batch_size: Annotated[int | None, Field(ge=1)] = None
    """The most images to send through the network at once. A larger batch is divided and its
    gradients are summed, which saves memory; batch normalization sees each part separately. null
    uses whole batches."""
    min_steps_per_epoch: Count = 1
    """If an epoch has too few images for this many batches, the batches shrink, so that a
    recipe for many images also works for few."""
    sampling: Literal["uniform", "balanced"] = "uniform"
    """uniform: each epoch shows every image once. balanced: it shows as many images, drawn with
    replacement so that every class is as frequent."""
    drop_last: bool = True
    """Skip an epoch's last batch if it is smaller than the others, unless it is the only
    one."""
    epochs: Count = 20
    """Number of passes over the training images."""
    optimizer: Optimizer = SGD()
    """The update rule of the weights."""
    schedule: AnySchedule = StepSchedule()
    """The learning rate over the training."""
    fine_tune: FineTune | None = None
    """How to train on from the model's `weights`; null trains all layers alike."""
    freeze: list[Freeze] = []
    """Parameters to freeze partway through the training."""
    gradient_clipping: NotNegative = 0.0
    """The largest norm of the gradients of a step; larger ones are scaled down. 0 turns it off."""
    averaging: Averaging = NoAveraging()
    """Average the weights and the batch statistics over the training."""
    loss: Loss = Loss()
    """Cross-entropy."""
    precision: Precision = "auto"
    """Precision of the network's arithmetic: fp32, bf16, fp16 (GPUs only; its losses are scaled),
    or auto: bf16 on a GPU that supports it or a processor that is faster with it (measured once),
    else fp32. The weights stay fp32."""
    tf32: bool = False
    """Let CUDA GPUs compute fp32 operations in TF32, with 10 instead of 23 bits of mantissa."""
    deterministic: bool = True
    """On CUDA GPUs, use only kernels that give the same bits every time, which costs 3 to 8% of
    the speed on an H200. All CPU kernels do."""
    compile: bool = False
    """Compile the network with torch.compile. On a CPU this needs a C++ compiler, takes about a
    minute and gains little; on a GPU it pays off for long trainings."""
    test_time_augmentation: TestTimeAugmentation = "none"
    """flip averages the logits of an image and its mirror image; flip_and_shift adds both
    shifted by a pixel, two ways, if the first two are unsure. Applies to prediction and the last
    validation."""
