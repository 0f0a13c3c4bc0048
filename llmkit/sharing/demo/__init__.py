"""A page on which anybody can try a model: here, and as a Space of the hub."""
