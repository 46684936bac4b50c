"""What the processes of one training share."""
