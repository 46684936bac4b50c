"""What the processes of one training exchange."""
