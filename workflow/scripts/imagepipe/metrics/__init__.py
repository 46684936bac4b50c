"""The metrics of competitions, and the thresholds of predicted classes."""
