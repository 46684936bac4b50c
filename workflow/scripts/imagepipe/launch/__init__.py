"""Starting a training in several processes and on several nodes."""
