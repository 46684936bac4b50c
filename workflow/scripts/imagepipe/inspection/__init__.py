"""A look at a folder or a bundle of images, and the dataset file that it takes."""
