"""Where, and in which precision, networks compute."""
