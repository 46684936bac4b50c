"""torchvision or timm as a module: imported only where a network is needed, as it takes seconds."""

import importlib
from typing import Any

from imagepipe.config.architectures import unknown_architecture, without_tag
from imagepipe.config.packages import not_installed
from imagepipe.errors import UserError, nearest


def import_library(library: str, architecture: str) -> Any:
    """Return the module of a library, "torchvision" or "timm".

    Raises `UserError` if it is not installed, or does not have the architecture or its tag.
    """
    try:
        module = importlib.import_module(library)
    except ModuleNotFoundError:
        raise UserError(f"recipe: model.name: {not_installed(library)}") from None
    if library == "timm":
        known = module.list_models()
    else:
        known = module.models.list_models(module=module.models)
    name = without_tag(library, architecture)
    if name not in known:
        problem = unknown_architecture(library, architecture, known)
        raise UserError(f"recipe: model.architecture: {problem}")
    if name != architecture:
        tagged = module.list_pretrained(f"{name}.*")
        if architecture not in tagged:
            raise UserError(
                f"recipe: model.architecture: timm has no weights {architecture!r}"
                f"{nearest(architecture, tagged)}; see timm's list of models, or leave out the tag"
            )
    return module
