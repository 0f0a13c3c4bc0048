"""``from llmkit import embed``: vectors of texts as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from llmkit.embeddings.settings import EmbedSettings, check_settings
from llmkit.errors import DataError, UsageError, did_you_mean
from llmkit.models.loading import LoadOptions, check_options
from llmkit.models.resolved import ResolvedModel
from llmkit.models.resolving import ENCODER, resolve_model

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

DEFAULT_MODEL = ("sentence-transformers/all-MiniLM-L6-v2", "c9745ed")


def find_encoder(
    name: str | None, revision: str | None = None, *, allow_pickle: bool = False
) -> ResolvedModel:
    """Return the model that a call means; without a name all-MiniLM-L6-v2, the embedded one where no hub answers.

    Raises:
        UsageError, ModelError, HubError: as of `resolve_model`.
    """
    return resolve_model(
        name,
        revision=revision,
        default=DEFAULT_MODEL,
        stand_in=ENCODER,
        task="embed",
        allow_pickle=allow_pickle,
    )


def embed(
    texts: str | Iterable[str],
    model: str | None = None,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str | None = None,
    batch_size: int | None = None,
    trust_remote_code: bool = False,
    **settings: Any,
) -> Array | list[Array]:
    """Return the vectors of texts, as ``llmkit embed`` writes them.

    Args:
        model: a folder, a hub id, a short name; all-MiniLM-L6-v2 if left out.
        dtype: as of `LoadOptions`.
        batch_size: most texts a batch; None for a budget of tokens.
        settings: fields of `EmbedSettings`: level, pooling, layers, layers_merge, normalize, dim, prompt, long …

    Returns:
        For one text (dimension,), for several (texts, dimension), float32. With level token or word, (units,
        dimension) for one text, and a list of such arrays for several.

    Raises:
        UsageError: a setting that is none, or a layer that the model does not have.
        DataError: a text that cannot be embedded; the message has its number, from 0.
        ModelError: the model cannot be had.
    """
    import numpy

    from llmkit.embeddings.batches import WINDOW_ROWS
    from llmkit.embeddings.embedding import Embedding, embed_texts
    from llmkit.embeddings.reduced import TRIAL_TEXTS, load_trusted_encoder
    from llmkit.models.native_attention import compile_ahead

    wanted = _settings_of(settings)
    options = LoadOptions(device, dtype, trust_remote_code)
    check_options(options)
    every = [texts] if isinstance(texts, str) else list(texts)
    for number, text in enumerate(every):
        _check_text(text, number)
    if len(every) > TRIAL_TEXTS:
        compile_ahead(device)
    resolved = find_encoder(model, revision)
    resolved.tell()
    encoder = load_trusted_encoder(resolved, wanted, options, every[:TRIAL_TEXTS])
    vectors: list[Array] = []
    for start in range(0, len(every), WINDOW_ROWS):
        window = every[start : start + WINDOW_ROWS]
        found = embed_texts(encoder, window, encoder.tokenizer.tokenize(window), batch_size=batch_size)
        for number, each in enumerate(found, start):
            if not isinstance(each, Embedding):
                raise DataError(f"text {number}: {each.message}.")
            vectors.append(each.vectors)
    if isinstance(texts, str):
        return vectors[0]
    if wanted.by_token and wanted.word is None:
        return vectors
    return numpy.stack(vectors) if vectors else numpy.empty((0, encoder.dimension), numpy.float32)


def _settings_of(given: dict[str, Any]) -> EmbedSettings:
    """Return checked settings; layers may be a number or a list of them.

    Raises:
        UsageError: there is no such setting, or no such choice.
    """
    names = [field.name for field in fields(EmbedSettings)]
    for name in given:
        if name not in names:
            near = did_you_mean(name, names)
            raise UsageError(
                f"embed has no setting {name!r}" + (f"; {near}" if near else "."),
                hint=f"There are: {', '.join(names)}.",
            )
    layers = given.get("layers")
    if isinstance(layers, int):
        given = {**given, "layers": str(layers)}
    elif isinstance(layers, list | tuple | range):
        given = {**given, "layers": ",".join(map(str, layers))}
    settings = EmbedSettings(**given)
    check_settings(settings)
    return settings


def _check_text(text: Any, number: int) -> None:
    if not isinstance(text, str):
        raise DataError(f"text {number} is {type(text).__name__}, not str.")
    if not text.strip():
        raise DataError(f"text {number} is empty.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"text {number} is not valid Unicode: it has half of a surrogate pair.") from None
