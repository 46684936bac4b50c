"""Readers of archives that are not trusted."""
