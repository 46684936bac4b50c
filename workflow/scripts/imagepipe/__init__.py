"""From an image-classification competition's archives to its submission: the library.

It knows nothing of the workflow around it, and each module can be imported and used alone.
"""

import importlib
from typing import Any


def load(*models: Any, **options: Any) -> Any:
    """Load model files to predict images: see `imagepipe.prediction.new_images.load`."""
    # No import statement, which the code hash of every stage would follow.
    return importlib.import_module("imagepipe.prediction.new_images").load(*models, **options)
