"""The size at which a run's images are stored and shown to the network."""

from dataclasses import dataclass

from imagepipe.config.recipe import Fit

# Pixels, for images that differ in size, where the recipe says nothing.
DEFAULT_IMAGE_SIZE = 96


@dataclass(frozen=True)
class ImageForm:
    """How the images of a run are stored: at most `height` × `width` pixels, never enlarged.

    `own_size` is the height and width that every image has, or None if they differ.
    """

    height: int
    width: int
    fit: Fit
    own_size: tuple[int, int] | None

    @property
    def is_own_size(self) -> bool:
        """Whether the images are stored as they are."""
        return (self.height, self.width) == self.own_size

    @property
    def name(self) -> str:
        """The name of its folder, such as "32x32" or "96x96-squash"."""
        size = f"{self.height}x{self.width}"
        return size if self.is_own_size else f"{size}-{self.fit}"


def image_form(own: list[int] | None, wanted: list[int] | None, fit: Fit) -> ImageForm:
    """Return the form of images of [height, width] `own`, for a recipe that wants `wanted`."""
    height, width = wanted or own or [DEFAULT_IMAGE_SIZE] * 2
    return ImageForm(height, width, fit, (own[0], own[1]) if own else None)
