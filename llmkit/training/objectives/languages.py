"""The languages of a multilingual encoder-decoder (mBART, M2M-100, NLLB): told to its tokenizer and its `generate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from llmkit.training.config import DataSection

_PROBE = "a"


def set_languages(tokenizer: PreTrainedTokenizerBase, data: DataSection) -> None:
    """Tell a multilingual tokenizer both languages; any other one is left as it is.

    Raises:
        UsageError: one of them is not given, or the tokenizer does not know it.
    """
    if not is_multilingual(tokenizer):
        return
    from llmkit.tasks.text_to_text import check_language

    for name, attribute in (("source_language", "src_lang"), ("target_language", "tgt_lang")):
        language = getattr(data, name)
        try:
            check_language(tokenizer, f"data.{name}", language)
        except ValueError as error:
            raise UsageError(f"{error}.") from None
        setattr(tokenizer, attribute, language)


def is_multilingual(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Tell whether a tokenizer marks texts with their language."""
    return hasattr(tokenizer, "_build_translation_inputs")


def generation_values(tokenizer: PreTrainedTokenizerBase, language: str | None) -> dict[str, Any]:
    """Return what `generate` needs to answer in a language: where the targets have it, there the answer must.

    M2M-100, NLLB and mBART-50 begin a target with its language, the first mBART ends it with that and begins
    from it.
    """
    if language is None or not is_multilingual(tokenizer):
        return {}
    known = {tokenizer.convert_tokens_to_ids(token) for token in (language, f"__{language}__")}
    ids = tokenizer(text_target=_PROBE)["input_ids"]
    if ids[0] in known:
        return {"forced_bos_token_id": ids[0]}
    return {"decoder_start_token_id": ids[-1]} if ids[-1] in known else {}
