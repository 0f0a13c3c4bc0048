"""A look inside: tokens."""
