"""Where networks compute, in which precision, and in how much memory."""
