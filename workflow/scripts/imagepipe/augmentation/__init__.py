"""Random changes of the training images, in batches on the device."""
