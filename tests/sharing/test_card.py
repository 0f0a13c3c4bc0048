"""The card for the hub: read with the hub's own client."""

from __future__ import annotations

import pytest
from huggingface_hub import ModelCard

from llmkit.errors import UsageError
from llmkit.sharing.card import CardOf, hub_card

ABOUT = CardOf(
    name="acme/reviews",
    task="text-classification",
    figures={"eval_loss": 0.25, "eval_accuracy": 0.9, "test_accuracy": 0.875},
    data=("/data/train.csv",),
    base="/data/base",
    trying="llmkit pipeline text-classification 'a text' --model acme/reviews",
)


def card(folder, about=ABOUT):
    return hub_card(folder, about, "apache-2.0")


def test_the_hub_reads_licence_and_figures(run_folder):
    found = ModelCard(card(run_folder)).data

    assert found.license == "apache-2.0"
    assert found.pipeline_tag == "text-classification"
    assert found.model_name == "acme/reviews"
    read = {(each.dataset_split, each.metric_type): each.metric_value for each in found.eval_results}
    assert read == {
        ("validation", "loss"): 0.25,
        ("validation", "accuracy"): 0.9,
        ("test", "accuracy"): 0.875,
    }
    assert {each.dataset_name for each in found.eval_results} == {"train.csv"}


def test_a_base_of_this_machine_is_not_named_and_one_of_the_hub_is(run_folder):
    of_hub = CardOf("acme/reviews", "text-classification", data=("hub:acme/data:en",), base="acme/base")

    assert ModelCard(card(run_folder)).data.base_model is None
    found = ModelCard(card(run_folder, of_hub)).data
    assert found.base_model == "acme/base"
    assert found.datasets == ["acme/data"]


def test_the_command_and_the_title_are_those_of_the_repository(run_folder, tmp_path):
    text = card(run_folder)

    assert "\n# acme/reviews\n" in text
    assert "\nllmkit pipeline text-classification 'a text' --model acme/reviews\n" in text
    assert str(tmp_path) not in text
    assert "`train.csv`" in text


def test_what_a_person_wrote_stays(run_folder):
    path = run_folder / "README.md"
    path.write_text(
        path.read_text().replace("tags:", "language: en\nlicense: mit\ntags:") + "\n## Mine\n\nwords\n"
    )

    text = hub_card(run_folder, ABOUT, None)

    assert ModelCard(text).data.license == "mit"
    assert ModelCard(text).data.language == "en"
    assert text.endswith("## Mine\n\nwords\n")


@pytest.mark.parametrize("given", [None, "", "my own licence"])
def test_without_a_licence_there_is_no_card(run_folder, given):
    with pytest.raises(UsageError, match=r"licence|license"):
        hub_card(run_folder, ABOUT, given)


def test_a_run_without_a_card_gets_one(run_folder):
    (run_folder / "README.md").unlink()

    assert "--model acme/reviews" in card(run_folder)
