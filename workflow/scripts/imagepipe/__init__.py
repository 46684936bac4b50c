"""From an image-classification competition's archives to its submission: the library.

It knows nothing of the workflow around it, and each module can be imported and used alone.
"""
