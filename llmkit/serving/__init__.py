"""A model that stays loaded: behind a Unix socket for scripts."""
