"""What a run leaves, for others: its card, and the way to the hub."""
