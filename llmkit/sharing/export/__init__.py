"""A model in another form, for another program, and how far its answers are from the original's."""
