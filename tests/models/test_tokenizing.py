"""Tokenizers: how many tokens a model takes."""

from types import SimpleNamespace

import pytest
import transformers

from llmkit.models.tokenizing import token_limit


class TestLimit:
    @staticmethod
    def limit(model_max_length=10**30, **config):
        config = {"model_type": "bert", "pad_token_id": 1, **config}
        return token_limit(SimpleNamespace(**config), SimpleNamespace(model_max_length=model_max_length))

    @pytest.mark.parametrize(
        ("config", "limit"),
        [
            ({"max_position_embeddings": 512}, 512),
            ({"n_positions": 1024}, 1024),
            ({"max_position_embeddings": 514, "model_type": "roberta"}, 512),
            ({"max_position_embeddings": 512, "model_max_length": 128}, 128),
            ({"max_position_embeddings": -1, "model_max_length": 300}, 300),
            ({"model_max_length": 512}, 512),
            ({}, None),
        ],
    )
    def test_the_smaller_of_positions_and_tokenizer(self, config, limit):
        assert self.limit(**config) == limit

    @pytest.mark.parametrize("positions", [20, 40])
    def test_roberta_really_takes_that_many(self, positions):
        """One token more, and the model has no position for it."""
        import torch

        config = transformers.RobertaConfig(
            vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
            max_position_embeddings=positions, pad_token_id=1,
        )  # fmt: skip
        model = transformers.RobertaModel(config).eval()
        limit = token_limit(config, SimpleNamespace(model_max_length=10**30))
        assert model(torch.full((1, limit), 5))[0].shape[1] == limit
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, limit + 1), 5))
