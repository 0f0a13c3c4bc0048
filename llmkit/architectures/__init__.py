"""What a model is made of and what it costs: counted from the config alone, without weights."""
