"""Submissions and their scores."""
