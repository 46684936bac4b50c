"""From archives to packed arrays: labels, splits, images."""
