"""Words as they were typed in bash, which cuts them at ``=`` and ``:`` (COMP_WORDBREAKS) and completes the last piece.

``--set training.schedule=co`` comes as the words ``--set``, ``training.schedule``, ``=`` and ``co``, and what bash
is given takes the place of ``co``; after ``=`` itself it is put behind it.
"""

from __future__ import annotations

from typing import Any

from typer._click.shell_completion import add_completion_class, get_completion_class

_CUTS_AT = frozenset("=:")


def together(words: list[str]) -> tuple[list[str], str]:
    """Return the words as they were typed, and what stands before the piece of the last one that is completed."""
    typed: list[str] = []
    is_open = False
    for word in words:
        is_cut = bool(word) and _CUTS_AT.issuperset(word)
        if typed and word and (is_cut or is_open):
            typed[-1] += word
        else:
            typed.append(word)
        is_open = is_cut
    return typed, typed[-1] if is_open else typed[-1].removesuffix(words[-1])


def put_words_together() -> None:
    """Have the completion of bash go by the words as they were typed."""
    shell: Any = get_completion_class("bash")

    class Together(shell):
        _before = ""

        def get_completion_args(self) -> tuple[list[str], str]:
            args, incomplete = super().get_completion_args()
            (*args, incomplete), self._before = together([*args, incomplete])
            return args, incomplete

        def get_completions(self, args: list[str], incomplete: str) -> list[Any]:
            # The name of an option is no part of its value: --format=
            before = self._before.partition("=")[2] if self._before.startswith("-") else self._before
            found = super().get_completions(args, incomplete)
            for item in found:
                item.value = item.value.removeprefix(before)
            return found

    add_completion_class(Together, "bash")
