"""Logits of images."""
