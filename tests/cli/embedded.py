"""The texts of the tests of `llmkit embed`."""

BANK = "He went to the bank to deposit money."
TEXTS = [BANK, "The bank approved the loan.", "She sat on the river bank and fished."]
