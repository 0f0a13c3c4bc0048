"""conversational: chat messages in, the conversation with the model's answer out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from llmkit.tasks.generation import GeneratingPipeline


@dataclass
class Conversation:
    """A chat: messages with a role (system, user, assistant) and a content, oldest first."""

    messages: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, value: Any) -> Conversation:
        """Make a conversation of a text (one user message), a list of messages, or ``{"messages": …}``.

        Raises:
            ValueError: no messages, or a message without role or content.
        """
        if isinstance(value, Conversation):
            return value
        if isinstance(value, str):
            value = [{"role": "user", "content": value}]
        if isinstance(value, Mapping):
            value = value.get("messages")
        if not value:
            raise ValueError("a conversation needs at least one message")
        messages = [dict(message) for message in value]
        for message in messages:
            if "role" not in message or "content" not in message:
                raise ValueError(f"a message needs 'role' and 'content': {message}")
        return cls(messages)

    def add_message(self, role: str, content: str) -> None:
        """Append a message."""
        self.messages.append({"role": role, "content": content})

    def add_user_input(self, text: str) -> None:
        """Append what the user says next."""
        self.add_message("user", text)

    @property
    def past_user_inputs(self) -> list[str]:
        """Return what the user said before the last time."""
        return self._by("user")[:-1]

    @property
    def generated_responses(self) -> list[str]:
        """Return what the model answered."""
        return self._by("assistant")

    def _by(self, role: str) -> list[str]:
        return [message["content"] for message in self.messages if message["role"] == role]


class ConversationalPipeline(GeneratingPipeline):
    """Answers a conversation through the model's chat template and appends the answer to it.

    A model without a chat template gets the messages joined by its end-of-sequence token, which is how
    DialoGPT (Zhang et al. 2020) was trained. Generates at most 256 new tokens unless the model's own
    generation config or the call says otherwise.
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True

    def __call__(self, conversations: Any, **kwargs: Any) -> Any:
        """Answer one conversation or several.

        Args:
            conversations: a Conversation, a list of messages, a text, ``{"messages": …}``, or a list of those.

        Returns:
            The Conversation with the answer appended; for several, a list of them, or an iterator as was given.

        Raises:
            ValueError: a conversation without messages.
            TypeError: an option that generation does not take.
        """
        several = isinstance(conversations, list) and not (
            conversations and isinstance(conversations[0], Mapping) and "role" in conversations[0]
        )
        if several:
            return [self(conversation, **kwargs) for conversation in conversations]
        if isinstance(conversations, Iterator):
            return (self(conversation, **kwargs) for conversation in conversations)
        return super().__call__(Conversation.of(conversations), **kwargs)

    def _sanitize_parameters(
        self, clean_up_tokenization_spaces: bool | None = None, **generate_kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        forward = self._checked_settings(generate_kwargs)
        cleaning = {} if clean_up_tokenization_spaces is None else {"clean": clean_up_tokenization_spaces}
        return {}, forward, cleaning

    def _task_settings(self) -> dict[str, Any]:
        # Not DialoGPT's max_length=1000 for a whole conversation: an answer has 256 tokens, however long that is.
        return {}

    def _defaults_left_open(self) -> dict[str, Any]:
        defaults = super()._defaults_left_open()
        if self.tokenizer.pad_token_id is None and self.model.generation_config.pad_token_id is None:
            defaults["pad_token_id"] = self.tokenizer.eos_token_id
        return defaults

    def preprocess(self, conversation: Conversation) -> dict[str, Any]:
        if self.tokenizer.chat_template is not None:
            encoded = self.tokenizer.apply_chat_template(
                conversation.messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
        else:
            separator = self.tokenizer.eos_token or "\n"
            text = "".join(f"{message['content']}{separator}" for message in conversation.messages)
            encoded = self.tokenizer(text, return_tensors="pt")
        encoded.pop("token_type_ids", None)
        return {"conversation": conversation, **encoded}

    def _forward(
        self, model_inputs: dict[str, Any], settings: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        inputs = dict(model_inputs)
        conversation = inputs.pop("conversation")
        prompt_length = 0 if self.model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        output_ids = self._generate(inputs, settings)["output_ids"]  # (1, sequences, length)
        return {"conversation": conversation, "answer_ids": output_ids[0, 0, prompt_length:]}

    def postprocess(self, model_outputs: dict[str, Any], clean: bool = False) -> Conversation:
        answer_ids: torch.Tensor = model_outputs["answer_ids"]
        answer = self.tokenizer.decode(
            answer_ids, skip_special_tokens=True, clean_up_tokenization_spaces=clean
        )
        conversation: Conversation = model_outputs["conversation"]
        conversation.add_message("assistant", answer.strip())
        return conversation
