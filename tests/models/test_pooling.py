"""From token vectors to one vector a text, against loops that say what each way means."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.models.pooling import PoolingConfig, pool, read_pooling
from llmkit.models.resolving import resolve_model


def plainly(vectors, mode):
    """One text's own token vectors, pooled one number at a time."""
    tokens = len(vectors)
    columns = [[float(vector[dim]) for vector in vectors] for dim in range(len(vectors[0]))]
    return {
        "cls": [column[0] for column in columns],
        "last-token": [column[-1] for column in columns],
        "max": [max(column) for column in columns],
        "mean": [sum(column) / tokens for column in columns],
        "mean-sqrt-length": [sum(column) / math.sqrt(tokens) for column in columns],
        "weighted-mean": [
            sum(weight * value for weight, value in enumerate(column, 1)) / (tokens * (tokens + 1) / 2)
            for column in columns
        ],
    }[mode]


@pytest.mark.parametrize("mode", ["mean", "cls", "max", "last-token", "weighted-mean", "mean-sqrt-length"])
@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), extra=st.integers(0, 4), left=st.booleans()
)
def test_padding_counts_for_nothing(mode, lengths, extra, left):
    width = max(lengths) + extra
    # In the padding stands what would be seen in any of the results.
    hidden_states = torch.full((len(lengths), width, 3), 1e6)
    mask = torch.zeros(len(lengths), width, dtype=torch.long)
    texts = [torch.randn(length, 3) for length in lengths]
    for row, text in enumerate(texts):
        place = slice(width - len(text), width) if left else slice(0, len(text))
        hidden_states[row, place], mask[row, place] = text, 1
    found = pool(hidden_states, mask, mode)
    assert found.shape == (len(lengths), 3)
    for vector, text in zip(found, texts, strict=True):
        assert vector.tolist() == pytest.approx(plainly(text.tolist(), mode), abs=1e-4)


def test_a_way_there_is_not():
    with pytest.raises(ValueError, match="average"):
        pool(torch.zeros(1, 2, 3), torch.ones(1, 2), "average")


def test_the_mean_of_half_precision_is_of_that_precision():
    assert pool(torch.ones(1, 5, 3, dtype=torch.bfloat16), torch.ones(1, 5)).dtype == torch.bfloat16


class TestConfig:
    @staticmethod
    def folder(tmp_path, pooling=None, sentence=None):
        for name, value in (("1_Pooling/config.json", pooling), ("sentence_bert_config.json", sentence)):
            if value is not None:
                (tmp_path / name).parent.mkdir(exist_ok=True)
                (tmp_path / name).write_text(json.dumps(value))
        return str(tmp_path)

    @pytest.mark.parametrize(
        ("pooling", "mode"),
        [
            (None, "mean"),
            ({}, "mean"),
            ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
            ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
            ({"pooling_mode_max_tokens": True}, "max"),
            ({"pooling_mode_lasttoken": True}, "last-token"),
            ({"pooling_mode_weightedmean_tokens": True}, "weighted-mean"),
            ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean-sqrt-length"),
            ({"pooling_mode": "cls"}, "cls"),
            ({"pooling_mode": "lasttoken"}, "last-token"),
            ({"pooling_mode": "weightedmean"}, "weighted-mean"),
            ({"pooling_mode": "mean_sqrt_len_tokens"}, "mean-sqrt-length"),
        ],
    )
    def test_older_files_have_switches_and_newer_ones_a_name(self, tmp_path, pooling, mode):
        assert read_pooling(self.folder(tmp_path, pooling)) == PoolingConfig(mode, None)

    def test_the_length_it_was_trained_with(self, tmp_path):
        folder = self.folder(tmp_path, sentence={"max_seq_length": 128})
        assert read_pooling(folder).max_tokens == 128

    def test_of_the_embedded_encoder(self):
        assert read_pooling(resolve_model("minilm").location).mode == "mean"


def test_the_same_as_sentence_transformers(tmp_path):
    """The library that wrote the files reads the same out of them."""
    pooling = pytest.importorskip("sentence_transformers.models").Pooling
    hidden_states = torch.randn(3, 7, 4)
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] + [0] * 6])
    for mode in ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"):
        module = pooling(4, pooling_mode=mode)
        (tmp_path / mode / "1_Pooling").mkdir(parents=True)
        module.save(str(tmp_path / mode / "1_Pooling"))
        theirs = module({"token_embeddings": hidden_states.clone(), "attention_mask": mask})[
            "sentence_embedding"
        ]
        ours = pool(hidden_states, mask, read_pooling(str(tmp_path / mode)).mode)
        torch.testing.assert_close(ours, theirs)
