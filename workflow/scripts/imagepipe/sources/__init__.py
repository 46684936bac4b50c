"""Where files of a dataset come from: generated, downloaded, or the user's own."""
