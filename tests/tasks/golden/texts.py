"""The texts that tokenizers of the golden results learn from, and that questions are asked of."""

CORPUS = """Hugging Face was founded in Paris and New York by three friends.
The river Seine flows through Paris, and the Eiffel Tower stands near its bank.
My name is Wolfgang and I live in Berlin with my dog and two cats.
The bicycle was invented in Germany; the first train ran in England in 1804.
She bought bread, cheese and wine at the market on Monday morning.
The museum opens at nine and closes at six, except on Tuesday.
La tour est haute et la ville est grande. Le chat dort sur la chaise.
How old are you? What is the capital of France? Who wrote the book?
Summarize the text: a long story about a small village by the sea.
translate English to French, translate English to German, question and context.
The quick brown fox jumps over the lazy dog while the old man reads a newspaper.
Zürich liegt in der Schweiz; naïve café owners drink jalapeño soup in São Paulo.
""".splitlines()

STORY = (
    "Marie lived in a small village by the sea. Every morning she walked to the market and bought bread and cheese. "
    "In 1804 the first train came to the village, and with it came Wolfgang, who had founded a museum in Berlin. "
    "He told her about the Eiffel Tower in Paris, about the river Seine, and about three friends from New York. "
    "The museum opens at nine and closes at six, except on Tuesday. On Monday the old man reads a newspaper, and "
    "the lazy dog sleeps under the chair. Marie moved to Zürich, where she drinks jalapeño soup in a naïve café. "
    "The quick brown fox jumps over the lazy dog while the two cats sleep. In the end Marie wrote a book about it."
)
