"""Training a tokenizer on the texts of the training rows, for a model that starts from scratch.

The same texts give the same tokenizer: what the trainers number or round differently from one time to the next is
put in order afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit._version import __version__
from llmkit.data.atomic import explained_write
from llmkit.data.cache_folder import cache_folder
from llmkit.errors import DataError
from llmkit.training.examples import alone, files_digest, read_rows
from llmkit.training.objectives import objective_class
from llmkit.training.objectives.cells import unpacked

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

    from llmkit.training.config import FinetuneConfig, TokenizerSection

_MOST_LETTERS = 1000
"""Letters that a WordPiece vocabulary has one by one; rarer ones are unknown."""

_SCORE_DIGITS = 2
_NO_TEXT = ("label", "labels", "tags", "score", "answer_start")
_NO_TEXT_KEYS = ("role", "from", "type")


@dataclass(frozen=True, slots=True)
class Specials:
    """The special tokens of a family of architectures.

    Attributes:
        roles: what each is, as transformers calls it, in the order of their ids.
        single, pair: how a text and a pair are framed; "" for not at all.
        decoder_start: the role of the token that the decoder of an encoder-decoder begins with.
    """

    roles: Mapping[str, str]
    single: str = ""
    pair: str = ""
    decoder_start: str = "pad"

    @property
    def tokens(self) -> list[str]:
        """Each once, in the order of their ids."""
        return list(dict.fromkeys(self.roles.values()))


BERT = Specials(
    {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    },
    "[CLS]:0 $A:0 [SEP]:0",
    "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
)
ROBERTA = Specials(
    {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "cls_token": "<s>",
        "sep_token": "</s>",
    },
    "<s> $A </s>",
    "<s> $A </s> </s> $B </s>",
    decoder_start="eos",
)
T5 = Specials({"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}, "$A </s>", "$A </s> $B </s>")
DECODER = Specials(
    {
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|pad|>",
        "unk_token": "<|unk|>",
    }
)


def specials_for(config: PreTrainedConfig) -> Specials:
    """Return the special tokens that an architecture wants, told by what it is and by the ids in its config."""
    import transformers

    ids = tuple(getattr(config, f"{name}_token_id", None) for name in ("bos", "pad", "eos"))
    is_masked = type(config) in transformers.AutoModelForMaskedLM._model_mapping
    if not is_masked and not config.is_encoder_decoder:
        return DECODER
    if ids == (0, 1, 2):
        return ROBERTA
    return T5 if config.is_encoder_decoder else BERT


def trained_tokenizer(config: FinetuneConfig, model_config: PreTrainedConfig) -> PreTrainedTokenizerBase:
    """Return the tokenizer that the config's section asks for, from the cache or trained now.

    Raises:
        DataError: a file cannot be read, or has no text.
    """
    import transformers

    assert config.tokenizer is not None
    specials = specials_for(model_config)
    folder = cache_folder() / "tokenizers" / _identity(config, specials)
    if not (folder / "tokenizer.json").exists():
        with alone(folder):
            if not (folder / "tokenizer.json").exists():
                _write(train(_texts(config), config.tokenizer, specials), folder)
    has_types = (getattr(model_config, "type_vocab_size", 0) or 0) > 1
    names = ["input_ids", *(["token_type_ids"] if has_types else []), "attention_mask"]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        model_max_length=_longest(config, model_config),
        model_input_names=names,
        padding_side="right",
        **specials.roles,
    )


def _write(backend: Any, folder: Path) -> None:
    """Put a tokenizer's file into the cache, whole; what a run that was killed left beside it goes."""
    beside = folder.with_name(f"{folder.name}.tmp")
    with explained_write(folder):
        for left in (beside, folder):
            shutil.rmtree(left, ignore_errors=True)
        beside.mkdir(parents=True)
        backend.save(str(beside / "tokenizer.json"))
        beside.rename(folder)


def _identity(config: FinetuneConfig, specials: Specials) -> str:
    assert config.tokenizer is not None
    settings = {
        "llmkit": __version__,
        "task": config.task,
        "tokenizer": config.tokenizer.model_dump(),
        "columns": config.data.columns,
        "languages": [config.data.source_language, config.data.target_language],
        "format": config.data.format,
        "max_rows": config.data.max_rows,
        "specials": [specials.roles, specials.single, specials.pair],
        "files": files_digest(config.data.train),
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _longest(config: FinetuneConfig, model_config: PreTrainedConfig) -> int:
    """Return the number of tokens that the model has positions for."""
    for name in ("max_position_embeddings", "n_positions"):
        positions = config.model.config.get(name, getattr(model_config, name, None))
        if isinstance(positions, int):
            # RoBERTa and its kin begin to count behind the padding token.
            taken = 2 if specials_for(model_config) is ROBERTA and positions % 64 == 2 else 0
            return positions - taken
    return 1 << 30


# -- the texts


def _texts(config: FinetuneConfig) -> Iterator[str]:
    """Go through the texts of the training rows: all of the task's fields but labels."""
    objective = objective_class(config.task)
    for row in read_rows(config.data.train, config.data.format, config.data.max_rows):
        record = objective.opened(row)
        for field in objective.fields:
            if field.name in _NO_TEXT:
                continue
            named = objective.names_of(field, config)
            found = next((name for name in named if name in record.values), None)
            yield from _strings(unpacked(record.values[found])) if found else ()


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if key not in _NO_TEXT_KEYS:
                yield from _strings(each)


# -- the training


def train(texts: Iterable[str], settings: TokenizerSection, specials: Specials) -> Any:
    """Train a tokenizer of the `tokenizers` library.

    Raises:
        DataError: there is no text.
    """
    from tokenizers import processors

    texts = list(texts)
    if not texts:
        raise DataError("there is no text in the training rows to train a tokenizer on.")
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # threads would add up scores in another order each time
    try:
        tokenizer = _TRAINERS[settings.train](texts, settings, specials)
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before
    if specials.single:
        ids = [(token, tokenizer.token_to_id(token)) for token in specials.tokens]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=specials.single, pair=specials.pair, special_tokens=ids
        )
    return tokenizer


def _wordpiece(texts: list[str], settings: TokenizerSection, specials: Specials) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    unknown = specials.roles["unk_token"]
    normalizer = normalizers.BertNormalizer(lowercase=settings.lowercase)

    def tokenizer_of(model: Any) -> Any:
        made = Tokenizer(model)
        made.normalizer = normalizer
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return made

    counts = Counter(letter for text in texts for letter in normalizer.normalize_str(text))
    common = sorted(
        (letter for letter in counts if not letter.isspace()), key=lambda each: (-counts[each], each)
    )
    letters = sorted(common[: min(_MOST_LETTERS, (settings.vocab_size - len(specials.tokens)) // 2)])
    # The trainer numbers the pieces that it meets in a random order, so single letters are numbered before.
    known = [*specials.tokens, *letters, *(f"##{letter}" for letter in letters)]
    draft = tokenizer_of(models.WordPiece(unk_token=unknown))
    trainer = trainers.WordPieceTrainer(
        vocab_size=settings.vocab_size, special_tokens=known, limit_alphabet=0, show_progress=False
    )
    draft.train_from_iterator(texts, trainer, length=len(texts))
    found = draft.get_vocab()
    pieces = sorted(found, key=found.__getitem__)[: settings.vocab_size]
    final = tokenizer_of(
        models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token=unknown)
    )
    final.add_special_tokens(specials.tokens)
    final.decoder = decoders.WordPiece()
    return final


def _bpe(texts: list[str], settings: TokenizerSection, specials: Specials) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    if settings.lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        special_tokens=specials.tokens,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    return tokenizer


def _unigram(texts: list[str], settings: TokenizerSection, specials: Specials) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    unknown = specials.roles["unk_token"]

    def tokenizer_of(model: Any) -> Any:
        made = Tokenizer(model)
        steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if settings.lowercase else [])]
        made.normalizer = normalizers.Sequence(steps)
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.decoder = decoders.Metaspace()
        return made

    draft = tokenizer_of(models.Unigram())
    trainer = trainers.UnigramTrainer(
        vocab_size=settings.vocab_size, special_tokens=specials.tokens, unk_token=unknown, show_progress=False
    )
    draft.train_from_iterator(texts, trainer, length=len(texts))
    pieces = [(piece, score) for piece, score in json.loads(draft.to_str())["model"]["vocab"] if score]
    # The last digits of a score change from one training to the next, and with them the order.
    rounded = sorted(
        ((piece, round(score, _SCORE_DIGITS)) for piece, score in pieces),
        key=lambda each: (-each[1], each[0]),
    )
    vocabulary = [*((token, 0.0) for token in specials.tokens), *rounded]
    final = tokenizer_of(models.Unigram(vocabulary, specials.tokens.index(unknown)))
    final.add_special_tokens(specials.tokens)
    return final


_TRAINERS: dict[str, Callable[[list[str], TokenizerSection, Specials], Any]] = {
    "wordpiece": _wordpiece,
    "bpe": _bpe,
    "unigram": _unigram,
}
