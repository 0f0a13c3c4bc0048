"""Two processes of which the second fails in what all do, while the first waits for it in a collective."""

from __future__ import annotations

import sys

import torch

from llmkit.cli.main import exit_code_of
from llmkit.errors import DataError
from llmkit.training.processes import agreed, is_first, meet, said_once

if __name__ == "__main__":
    meet(on_cpu=True)
    try:
        with said_once(), agreed():
            if not is_first():
                raise DataError("the second machine has no such file.")
            torch.distributed.barrier()
    except DataError as error:
        sys.exit(exit_code_of(error))
