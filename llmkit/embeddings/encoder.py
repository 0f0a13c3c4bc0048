"""A loaded model that gives vectors: token ids in, hidden states chosen, merged and pooled out."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.embeddings.settings import EmbedSettings, layer_numbers
from llmkit.embeddings.tokens import Piece, TextTokenizer
from llmkit.errors import ModelError, UsageError
from llmkit.models.cpu_attention import SideBySideError
from llmkit.models.loading import LoadOptions, load_model
from llmkit.models.pooling import PoolingConfig, pool, read_pooling
from llmkit.models.resolved import ResolvedModel
from llmkit.models.sentence_modules import SentenceModules, load_dense, model_prompts, read_sentence_modules
from llmkit.models.side_by_side import first_position, places_of, takes_side_by_side
from llmkit.models.tokenizing import load_tokenizer, token_limit

if TYPE_CHECKING:
    import numpy
    import torch

TASK = "feature-extraction"

_LONG_ROW, _ROW_STEP, _SHORT_ROW_STEP = 512, 64, 16  # tokens


@dataclass(frozen=True, slots=True)
class Finish:
    """What happens to a text's vector after pooling: the model's own layers, its length in numbers, its norm."""

    dense: Sequence[Any] = ()
    dim: int | None = None
    normalize: bool = False

    def apply(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return finished vectors, (…, hidden) -> (…, dim), float32."""
        import torch

        vectors = vectors.float()
        for layer in self.dense:
            vectors = layer(vectors)
        if self.dim is not None:
            vectors = vectors[..., : self.dim]
        return torch.nn.functional.normalize(vectors, dim=-1) if self.normalize else vectors


@dataclass(frozen=True)
class Encoder:
    """A model with all that its vectors depend on.

    Attributes:
        layers: numbers of the hidden states that are merged; (last,) for the usual one.
        pooling: as of `EmbedSettings`, settled.
        hidden_size: of a pooled vector, before `finish`.
    """

    model: Any
    tokenizer: TextTokenizer
    settings: EmbedSettings
    layers: tuple[int, ...]
    last_layer: int
    pooling: str
    finish: Finish
    hidden_size: int

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        size = self.finish.dense[-1][0].out_features if self.finish.dense else self.hidden_size
        return min(self.finish.dim or size, size)

    @functools.cached_property
    def takes_side_by_side(self) -> bool:
        """Whether the texts of a batch stand in one row, without padding; a pooler looks at the first alone."""
        return self.pooling != "pooler" and takes_side_by_side(self.model)

    def sentence_vectors(self, pieces: Sequence[Piece]) -> torch.Tensor:
        """Return one vector a piece, (pieces, hidden), before `finish`, on the CPU in float32."""
        import torch

        with torch.inference_mode():
            if self.pooling == "pooler":
                ids, mask = self._batch(pieces)
                pooled: torch.Tensor = self._forward(input_ids=ids, attention_mask=mask).pooler_output
                return pooled.float().cpu()
            hidden = self._hidden(pieces)
            lengths = torch.tensor([len(piece.ids) for piece in pieces], device=hidden.device)
            is_real = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
            # In float32: counted in bfloat16, 257 tokens are 256.
            return pool(hidden.float(), is_real, self.pooling).cpu()

    def token_vectors(self, pieces: Sequence[Piece]) -> list[torch.Tensor]:
        """Return the vectors of each piece's tokens, each (tokens, hidden), before `finish`, on the CPU in float32."""
        import torch

        with torch.inference_mode():
            hidden = self._hidden(pieces).float().cpu()
        return [hidden[row, : len(piece.ids)] for row, piece in enumerate(pieces)]

    def finished(self, vectors: torch.Tensor) -> numpy.ndarray[Any, Any]:
        """Return vectors as they are given out: (…, dimension), float32."""
        import torch

        with torch.inference_mode():
            array: numpy.ndarray[Any, Any] = self.finish.apply(vectors).numpy()
        return array

    def _hidden(self, pieces: Sequence[Piece]) -> torch.Tensor:
        """Return the chosen layers, (pieces, longest, hidden); behind a shorter piece stands what does not count."""
        if len(pieces) > 1 and self.takes_side_by_side:
            try:
                return self._hidden_side_by_side(pieces)
            except SideBySideError:  # a layer that does so in a long row alone: with a window, say
                pass
        ids, mask = self._batch(pieces)
        return self._merged(self._forward(input_ids=ids, attention_mask=mask))

    def _hidden_side_by_side(self, pieces: Sequence[Piece]) -> torch.Tensor:
        import torch

        lengths = [len(piece.ids) for piece in pieces]
        numbers = [number for piece in pieces for number in piece.ids]
        filling = _filling(len(numbers))
        numbers += [self.tokenizer.tokenizer.pad_token_id or 0] * filling
        ids = torch.tensor([numbers], device=self.model.device)
        texts = [*lengths, filling] if filling else lengths
        places = places_of(texts, ids.device, first_position=first_position(self.model))
        hidden = self._merged(self._forward(input_ids=ids, **places))
        return torch.nn.utils.rnn.pad_sequence(hidden[0].split(texts)[: len(lengths)], batch_first=True)

    def _batch(self, pieces: Sequence[Piece]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return token ids and their mask, each (pieces, longest); no mask where nothing is padded."""
        import torch

        longest = max(len(piece.ids) for piece in pieces)
        filling = self.tokenizer.tokenizer.pad_token_id or 0
        ids = torch.tensor([piece.ids + [filling] * (longest - len(piece.ids)) for piece in pieces])
        lengths = torch.tensor([len(piece.ids) for piece in pieces])
        device = self.model.device
        if int(lengths.min()) == longest:
            return ids.to(device), None
        mask = (torch.arange(longest) < lengths[:, None]).long()
        return ids.to(device), mask.to(device)

    def _forward(self, **inputs: Any) -> Any:
        needs_all = self.layers != (self.last_layer,)
        return self.model(**inputs, output_hidden_states=needs_all)

    def _merged(self, output: Any) -> torch.Tensor:
        """Return the chosen layers as one, (pieces, longest, hidden)."""
        import torch

        if self.layers == (self.last_layer,):
            last: torch.Tensor = output[0]
            return last
        chosen = [output.hidden_states[number] for number in self.layers]
        if self.settings.layers_merge == "concat":
            return torch.cat(chosen, dim=-1)
        total = torch.stack([each.float() for each in chosen]).sum(dim=0)
        return total / len(chosen) if self.settings.layers_merge == "mean" else total


def _filling(tokens: int) -> int:
    """Return how many tokens to add to a row, as a text of their own, so that rows have few lengths.

    oneDNN keeps half a megabyte for each number of rows that a layer shape has met, and never gives it back: over
    a thousand different batches, a gigabyte. Of a full row this is 1.5 % at most.
    """
    return -tokens % (_ROW_STEP if tokens >= _LONG_ROW else _SHORT_ROW_STEP)


def load_encoder(resolved: ResolvedModel, settings: EmbedSettings, options: LoadOptions) -> Encoder:
    """Load a model to take vectors from.

    Raises:
        ModelError: it cannot be had, has no text encoder, or no pooler where its output is asked for.
        UsageError: a layer that it does not have, or more numbers than its vectors have.
    """
    from transformers import AutoModel, AutoModelForTextEncoding

    modules = read_sentence_modules(resolved) if _heeds_modules(settings) else _plain(resolved)
    wants_pooler = settings.pooling == "pooler"
    model = load_model(
        resolved, (AutoModelForTextEncoding, AutoModel), options, task=TASK, needs_pooler=wants_pooler
    )
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    _check_takes_text(model, resolved)
    config = model.config.get_text_config()
    if wants_pooler and getattr(model, "pooler", None) is None:
        raise ModelError(
            f"{resolved.name} has no pooler.",
            hint="Use --pooling mean, cls, max, last-token or weighted-mean.",
        )
    last = config.num_hidden_layers
    layers = tuple(layer_numbers(settings.layers, last))
    pooling = PoolingConfig(settings.pooling) if settings.pooling else modules.pooling
    prompt = _prompt(settings.prompt, modules)
    if prompt and not modules.pooling.counts_prompt:
        raise ModelError(
            f"{resolved.name} leaves its prompt out of the pooling (include_prompt), which llmkit does not.",
            hint="--pooling mean --prompt NAME pools the prompt with the text; --prompt '' leaves it away.",
        )
    size = config.hidden_size * (len(layers) if settings.layers_merge == "concat" else 1)
    if not settings.by_token:
        size *= len(pooling.modes)
    finish = Finish(
        () if settings.by_token else tuple(load_dense(resolved, folder) for folder in modules.dense),
        settings.dim,
        (modules.normalize and not settings.by_token) if settings.normalize is None else settings.normalize,
    )
    loaded_tokenizer = load_tokenizer(resolved, TASK)
    tokenizer = TextTokenizer(
        loaded_tokenizer,
        _limit(token_limit(config, loaded_tokenizer), modules.pooling.max_tokens, settings.max_length),
        settings.long,
        prompt,
        has_offsets=settings.by_token,
    )
    encoder = Encoder(model, tokenizer, settings, layers, last, pooling.mode, finish, size)
    if settings.dim is not None and encoder.dimension < settings.dim:
        raise UsageError(
            f"--dim {settings.dim}: the vectors of {resolved.name} have {encoder.dimension} numbers."
        )
    return encoder


def _heeds_modules(settings: EmbedSettings) -> bool:
    """Whether the model's own way to a text's vector is wanted; a pooling that is named leaves it out."""
    return settings.pooling is None and settings.layers == "-1"


def _plain(resolved: ResolvedModel) -> SentenceModules:
    """Return what holds of a model's own files where its modules are left out: its prompts, how long its texts are.

    The prompts are there by their names; none is put before a text unasked.
    """
    limit = read_pooling(resolved.location, resolved.revision).max_tokens
    return SentenceModules(PoolingConfig(max_tokens=limit), prompts=model_prompts(resolved))


def _check_takes_text(model: Any, resolved: ResolvedModel) -> None:
    if (
        not hasattr(model.config.get_text_config(), "num_hidden_layers")
        or model.main_input_name != "input_ids"
    ):
        raise ModelError(
            f"{resolved.name} ({type(model).__name__}) does not take texts.",
            hint="Choose an encoder of texts: --model NAME.",
        )


def _limit(most: int | None, usual: int | None, chosen: int | None) -> int | None:
    """Return how many tokens a piece may have: what was chosen, else the usual, but never more than the most."""
    limits = [limit for limit in (most, chosen or usual) if limit is not None]
    return min(limits, default=None)


def _prompt(wanted: str | None, modules: SentenceModules) -> str:
    """Return what is put before each text: a prompt of the model's by its name, or the words themselves."""
    if wanted is None:
        return modules.prompts.get(modules.default_prompt or "", "")
    return modules.prompts.get(wanted, wanted)
