"""Generated text as it comes, token by token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def text_streamer(tokenizer: Any, write: Callable[[str], None], *, skip_prompt: bool) -> Any:
    """Return a streamer for ``generate`` that hands each finished word to `write`.

    Args:
        skip_prompt: leave out what the model was given; for chats.
    """
    from transformers import TextStreamer

    class Streamer(TextStreamer):
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            if text:
                write(text)

    return Streamer(tokenizer, skip_prompt=skip_prompt, skip_special_tokens=True)


def can_stream(parameters: dict[str, Any], pipe: Any) -> bool:
    """Tell whether a generation has one sequence only, so that its tokens can be shown as they come."""
    config = pipe.model.generation_config
    beams = parameters.get("num_beams") or config.num_beams or 1
    sequences = parameters.get("num_return_sequences") or config.num_return_sequences or 1
    return beams == 1 and sequences == 1 and not parameters.get("return_tensors")
