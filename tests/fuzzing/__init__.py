"""Fuzzing guided by coverage: `targets` take any bytes, `run` drives them with atheris (`make fuzz`)."""
