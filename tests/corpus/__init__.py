"""Bad inputs, kept: each `.jsonl` file here holds those of one kind, one a line, run by `tests/test_corpus.py`."""
