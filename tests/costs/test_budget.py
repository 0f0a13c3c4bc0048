"""A budget turned round: what it buys costs the budget again."""

from __future__ import annotations

import pytest

from llmkit.costs.budget import within_budget
from llmkit.costs.choice import read_choice
from llmkit.costs.estimate import estimate
from llmkit.errors import UsageError


def choose(budget, gpu="h100", **said):
    texts = {name: said.pop(name) for name in ("tokens", "mfu", "price", "memory") if name in said}
    return read_choice({"budget": budget, **texts}, gpu=gpu, **said)


@pytest.mark.parametrize("recompute", ["none", "full"])
@pytest.mark.parametrize(("budget", "hours"), [("5000usd", 2000), ("100gpuh", 100), ("2kgpuh", 2000)])
def test_the_tokens_it_buys_cost_it(count, budget, hours, recompute):
    choice = choose(budget, price="2.5", recompute=recompute)
    tokens = within_budget(count("gpt2"), choice).figure("tokens").amount.of("tokens")
    again = read_choice({"tokens": f"{tokens!r}tokens", "price": "2.5"}, gpu="h100", recompute=recompute)
    assert estimate(count("gpt2"), again).figure("device_hours").amount.of("device hours") == pytest.approx(
        hours
    )


def test_the_size_of_a_model_for_some_tokens():
    found = within_budget(None, choose("1e23flops", gpu=None, tokens="300B"))
    assert found.figure("parameters").amount.of("parameters") == pytest.approx(1e23 / 6 / 300e9)


def test_chinchilla_is_optimal_for_gophers_flops():
    found = within_budget(None, choose("5.76e23flops", gpu=None))
    assert found.figure("optimal_parameters").amount.of("parameters") == pytest.approx(70e9, rel=0.05)
    assert found.figure("optimal_tokens").amount.of("tokens") == pytest.approx(1.4e12, rel=0.05)
    assert "approach 1" in found.figure("optimal_tokens").source


@pytest.mark.parametrize(
    ("budget", "said", "error"),
    [
        ("5000usd", {"gpu": None}, "on which device"),
        ("100gpuh", {"gpu": None}, "on which device"),
        ("5000usd", {}, "what does an hour of a device cost"),
        ("100gpuh", {"recompute": "full"}, "name the model"),
        ("100gpuh", {"batch_size": 4}, "--batch-size is for the memory"),
        ("100gpuh", {"memory": "24GB"}, "--memory is for the memory"),
    ],
)
def test_what_is_lacking(budget, said, error):
    with pytest.raises(UsageError, match=error):
        within_budget(None, choose(budget, **said))


def test_a_model_and_its_tokens_leave_nothing_open(count):
    with pytest.raises(UsageError, match="--tokens says it"):
        within_budget(count("gpt2"), choose("100gpuh", tokens="1B"))


def test_hours_that_are_the_budget_are_not_worked_out_by_the_price():
    found = within_budget(None, choose("100gpuh", price="2.5"))
    assert found.figure("device_hours") is None
    assert found.figure("money").amount.of("USD") == pytest.approx(250)


@pytest.mark.parametrize("recompute", ["none", "full"])
def test_flops_on_a_device_take_hours_and_money(count, recompute):
    choice = choose("1e21flops", price="2.5", recompute=recompute)
    found = within_budget(count("gpt2"), choice)
    tokens = found.figure("tokens").amount.of("tokens")
    again = read_choice({"tokens": f"{tokens!r}tokens", "price": "2.5"}, gpu="h100", recompute=recompute)
    for key, unit in (("device_hours", "device hours"), ("money", "USD")):
        expected = estimate(count("gpt2"), again).figure(key).amount.of(unit)
        assert found.figure(key).amount.of(unit) == pytest.approx(expected)
