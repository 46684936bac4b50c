"""Pretrained weights: from wherever they are to one checked file, and a record of its origin."""

import json
import logging
from pathlib import Path

from safetensors.torch import save

from imagepipe.config.weights import PRETRAINED, WeightsRecord, WeightsRequest
from imagepipe.files import atomic_write, file_hash, write_text
from imagepipe.sources.downloading import DEFAULT_RETRIES, RetryPolicy
from imagepipe.sources.network_library import import_library
from imagepipe.sources.weights_fitting import fit_tensors
from imagepipe.sources.weights_library import (
    Preprocessing,
    find_library_weights,
)
from imagepipe.sources.weights_places import weights_file
from imagepipe.sources.weights_reading import read_tensors

logger = logging.getLogger(__name__)


def write_weights(
    request: WeightsRequest,
    weights: Path,
    record: Path,
    downloads: Path,
    retries: RetryPolicy = DEFAULT_RETRIES,
) -> None:
    """Write the weights that a request asks for as .safetensors, and their `WeightsRecord`.

    The file has the tensors of the whole network by its library's names. The same source gives the
    same bytes. `downloads` keeps an unfinished download for the next call. Raises `UserError` if
    the weights cannot be had, are damaged, not safe, or of another network.
    """
    offered = find_library_weights(request)
    if offered is None:
        logger.info(
            "%s has no weights for %s: images are normalized as is usual for ImageNet",
            request.package,
            request.architecture,
        )
    with weights_file(request, offered, downloads, retries) as (path, origin):
        shown = str(path) if request.files else origin
        tensors, head_classes = fit_tensors(request, read_tensors(path, shown), shown)
        source_sha256 = file_hash(path)
        with atomic_write(weights) as temporary:
            # With a single key of metadata: several are written in random order. `save_file` would
            # make a file that only its owner can read, whatever the umask.
            temporary.write_bytes(save(tensors, {"format": "pt"}))
    # Of other weights, only the preprocessing is taken to be that of the library's own.
    own = offered if request.weights == PRETRAINED else None
    preprocessing = offered.preprocessing if offered else Preprocessing()
    found = WeightsRecord(
        package=request.package,
        architecture=request.architecture,
        package_version=import_library(request.package, request.architecture).__version__,
        origin=origin,
        source_sha256=source_sha256,
        sha256=file_hash(weights),
        pretrained_on=own.name if own else None,
        license=own.license if own else None,
        mean=list(preprocessing.mean),
        std=list(preprocessing.std),
        image_size=list(preprocessing.image_size),
        interpolation=preprocessing.interpolation,
        head_classes=head_classes,
    )
    write_text(record, json.dumps(found.model_dump(), indent=2) + "\n")
    logger.info("%s: weights of %s from %s", weights, request.architecture, origin)
