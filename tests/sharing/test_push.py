"""What the hub's client raises is told without what nobody else may know."""

from __future__ import annotations

import pytest

from llmkit.errors import HubError
from llmkit.sharing.push import known_tokens, push


def test_neither_the_token_nor_what_an_address_is_signed_with_is_told(monkeypatch):
    from huggingface_hub import HfApi, constants

    def refuse(self, *_: object, **__: object) -> None:
        raise RuntimeError(f"400 for https://store/x?X-Amz-Signature=5ecre7&part=1 with {self.token}\nmore")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setattr(HfApi, "create_repo", refuse)

    with pytest.raises(HubError) as caught:
        push([], "acme/x", "message", private=False)

    assert "400 for https://store/x?… with …" in caught.value.message
    assert not any(secret in str(caught.value) for secret in ("5ecre7", "hf_mine"))


def test_the_secrets_of_the_user_are_known(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("SHORT_TOKEN", "word")

    found = known_tokens()

    assert found["hf_mine"] == "your token of the hub"
    assert found["0123456789abcdef"] == "your WANDB_API_KEY"
    assert "word" not in found
