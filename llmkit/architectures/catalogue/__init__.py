"""The catalogue: well-known architectures by name, each with its config, its paper and its published figure.

One JSON file a family. To add a model is to add an entry to one: a test builds it and holds the count against
the published figure.
"""

from llmkit.architectures.catalogue.loader import Entry as Entry
from llmkit.architectures.catalogue.loader import entries as entries
from llmkit.architectures.catalogue.loader import find as find
from llmkit.architectures.catalogue.loader import matching as matching
from llmkit.architectures.catalogue.loader import nearest as nearest
