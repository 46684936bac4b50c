"""Typed configuration: options, datasets, recipes and runs. It imports neither torch nor numpy."""
