"""What is known about trained models, as numbers and as figures."""
