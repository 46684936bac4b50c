"""Every classification network of torchvision, and some of timm, trains a step and predicts.

The smallest of each family are built in every test run. IMAGEPIPE_ALL_ARCHITECTURES=1 builds all,
which takes some minutes and 8 GB of memory.
"""

import os

import pytest
import torch
import torchvision

from image_builders import MEAN, STD
from imagepipe.config.recipe import Timm, Torchvision
from imagepipe.errors import UserError
from imagepipe.models.torchvision_timm import check_library_model
from imagepipe.prediction.predict import predict_logits
from training_builders import all_images, build, complete_recipe, train_one_epoch

SIZE = 64
# What a network cannot do with images of 64 pixels, by the name of its family.
TOO_SMALL = {
    "inception_v3": "Kernel size can't be greater than actual input size",
    "vit_h_14": "Input shape indivisible by patch size",
    "maxvit_t": "should be divisible by partition_size",
}
SMALL_TORCHVISION = (
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
)
SMALL_TIMM = (
    "test_byobnet",
    "test_convnext",
    "test_efficientnet",
    "test_mambaout",
    "test_nfnet",
    "test_resnet",
    "test_vit",
)
TIMM = (
    "convmixer_768_32",
    "convnext_atto",
    "cspresnet50",
    "deit3_small_patch16_224",
    "densenet121",
    "dla34",
    "dpn68",
    "edgenext_xx_small",
    "efficientformerv2_s0",
    "eva02_tiny_patch14_224",
    "fastvit_t8",
    "ghostnet_100",
    "hrnet_w18_small",
    "levit_128s",
    "maxvit_rmlp_pico_rw_256",
    "mixer_s32_224",
    "mobilenetv4_conv_small",
    "mobilevit_xxs",
    "nf_resnet50",
    "poolformer_s12",
    "pvt_v2_b0",
    "regnety_002",
    "repvgg_a0",
    "res2net50_26w_4s",
    "resnet26d",
    "rexnet_100",
    "swin_tiny_patch4_window7_224",
    "tf_efficientnet_lite0",
    "tinynet_e",
    "vgg11_bn",
    "xcit_nano_12_p16_224",
)


def torchvision_networks() -> list[str]:
    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def networks() -> list[object]:
    """Return all networks; those that only the long run builds are marked."""
    long = pytest.mark.skipif(
        os.environ.get("IMAGEPIPE_ALL_ARCHITECTURES") != "1",
        reason="IMAGEPIPE_ALL_ARCHITECTURES=1 builds all networks, in some minutes",
    )
    return [
        pytest.param(kind(architecture=name), id=f"{library}-{name}", marks=[] if small else [long])
        for library, kind, names, smallest in (
            ("torchvision", Torchvision, torchvision_networks(), SMALL_TORCHVISION),
            ("timm", Timm, (*SMALL_TIMM, *TIMM), SMALL_TIMM),
        )
        for name in names
        for small in [name in smallest]
    ]


@pytest.mark.parametrize("options", networks())
def test_a_network_trains_a_step_and_predicts(options: Timm | Torchvision) -> None:
    if options.architecture in TOO_SMALL:
        with pytest.raises(UserError, match=f"{options.architecture} does not take images of 64 "):
            check_library_model(options, 3, (SIZE, SIZE))
        return
    check_library_model(options, 3, (SIZE, SIZE))
    recipe = complete_recipe(
        model=options.model_dump(),
        image_size=SIZE,
        batch_size=4,
        epochs=1,
        optimizer={"lr": 1e-4, "momentum": 0.0},
        fine_tune={"frozen_epochs": 0, "lr_decay_by_layer": 0.9, "keep_statistics": False},
    )
    training = build(recipe, all_images(4, size=32))
    loss, _ = train_one_epoch(training)
    assert loss < 20
    logits = predict_logits(
        training.model.eval(),
        training.images,
        MEAN,
        STD,
        rows=torch.arange(4),
        batch_size=4,
        image_size=(SIZE, SIZE),
        precision="fp32",
        description="test",
    )
    assert logits.shape == (4, 3)
    assert logits.isfinite().all()
