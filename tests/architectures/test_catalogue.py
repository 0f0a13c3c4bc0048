"""The catalogue: every entry is whole, is found by the names people type, and counts what it says."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest
import torch

from llmkit.architectures import catalogue
from llmkit.architectures.catalogue import Entry
from llmkit.architectures.catalogue.loader import figure
from llmkit.architectures.count import count_parameters
from llmkit.architectures.counting import count_architecture
from llmkit.architectures.heads import HEADS
from llmkit.architectures.settings import apply_settings

ENTRIES = catalogue.entries()
FILES = sorted(Path(catalogue.__file__).parent.glob("*.json"))
KNOWN = [entry for entry in ENTRIES.values() if not entry.undisclosed]
UNDISCLOSED = [entry for entry in ENTRIES.values() if entry.undisclosed]

each_known = pytest.mark.parametrize("entry", KNOWN, ids=lambda entry: entry.name)
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def off_by(entry: Entry) -> float:
    assert entry.published is not None
    return abs(entry.count - entry.published) / entry.published


# What an entry says


def test_no_name_stands_for_two():
    names = list(chain.from_iterable(entry.names for entry in ENTRIES.values()))
    assert sorted(names) == sorted(set(names))


@each_file
def test_a_file_has_what_it_needs_and_nothing_else(file):
    values = json.loads(file.read_text(encoding="utf-8"))
    entries = values["entries"]
    assert set(values) == {"papers", "entries"}
    assert {each["paper"] for each in entries} == set(values["papers"])
    assert all(
        set(paper) == {"title", "year", "url"} and paper["url"].startswith("https://")
        for paper in values["papers"].values()
    )
    for each in entries:
        needed = {"name", "paper"} | ({"undisclosed"} if "undisclosed" in each else {"config", "count"})
        allowed = needed | {"aliases", "hub_id", "head", "published", "note"}
        assert needed <= set(each) <= allowed, each["name"]
        assert all(value not in ("", [], None) for value in each.values()), each["name"]


def test_no_entry_is_lost_between_the_files():
    assert len(ENTRIES) == sum(len(json.loads(file.read_bytes())["entries"]) for file in FILES)


@each_known
def test_an_entry_can_be_checked(entry):
    """It has a config and a source; and where no figure was published, or ours is another, it says so."""
    assert entry.config["model_type"]
    assert entry.paper
    assert entry.year >= 2015
    assert entry.head is None or entry.head in HEADS
    assert not entry.hub_id or entry.hub_id.count("/") == 1
    if entry.published is None:
        assert "figure" in entry.note
    elif off_by(entry) > entry.tolerance:
        assert entry.published_text in entry.note, f"{entry.count:,} for {entry.published_text}: why?"


@pytest.mark.parametrize("entry", UNDISCLOSED, ids=lambda entry: entry.name)
def test_what_was_never_published_is_not_guessed(entry):
    assert entry.config == {}
    assert entry.published is None
    assert "never published" in entry.undisclosed or "but not the widths and layers" in entry.undisclosed


# The counts


@each_known
def test_an_entry_counts_what_it_says(entry):
    assert count_architecture(entry.config, entry.head, formulas=False).total == entry.count


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("bert-base-uncased", 109_482_240),
        ("bert-large-uncased", 335_141_888),
        ("distilbert-base-uncased", 66_362_880),
        ("roberta-large", 355_359_744),
        ("albert-base-v2", 11_683_584),
        ("gpt2", 124_439_808),
        ("gpt2-xl", 1_557_611_200),
        ("t5-base", 222_903_552),
        ("llama-2-7b", 6_738_415_616),
        ("llama-3-8b", 8_030_261_248),
        ("llama-3.1-405b", 405_853_388_800),
        ("bloom", 176_247_271_424),
        ("mixtral-8x7b", 46_702_792_704),
        ("xlm-roberta-large", 559_890_432),
        ("deberta-v3-base", 183_831_552),
        ("modernbert-large", 394_781_696),
        ("distilbart-12-6", 305_510_400),
        ("llama-3.2-1b", 1_235_814_400),
        ("vit-base-patch16-224", 86_389_248),
    ],
)
def test_published_counts(name, count):
    """Figures that were published, or counted from the checkpoints, by others than us."""
    assert ENTRIES[catalogue.find(name).name].count == count


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("llama-2-7b", {"hidden_size": 2048, "num_attention_heads": 16}),
        ("llama-2-7b", {"hidden_size": 2048}),
        ("llama-3-8b", {"hidden_size": 2048}),
        ("mistral-7b", {"num_attention_heads": 16}),
        ("qwen2-7b", {"hidden_size": 1792}),
        ("gpt-neox-20b", {"num_attention_heads": 32, "hidden_size": 4096}),
        ("falcon-7b", {"hidden_size": 2272}),
        ("mamba-130m", {"hidden_size": 256}),
        ("opt-1.3b", {"hidden_size": 1024}),
        ("t5-base", {"num_layers": 3}),
        ("llava-1.5-7b", {"text_config.hidden_size": 2048}),
    ],
)
def test_what_follows_from_other_values_is_not_pinned(name, settings):
    """A changed width, or number of heads or layers, counts as in a config that says no more than those."""
    derived = {
        *("head_dim", "num_decoder_layers", "ffn_hidden_size", "time_step_rank", "word_embed_proj_dim"),
        *(("num_key_value_heads",) if name == "llama-2-7b" else ()),
        *(("intermediate_size",) if name == "mamba-130m" else ()),
    }
    values = apply_settings(catalogue.find(name).config, settings)
    for part in (values, values.get("text_config", {})):
        for key in derived & set(part):
            del part[key]
    expected = count_architecture(values, catalogue.find(name).head, formulas=False).total
    assert count_parameters(name, set=settings, use_cache=False).total == expected


def test_a_narrower_llama_counts_as_its_config_class_does():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=2048, num_hidden_layers=32, num_attention_heads=32, intermediate_size=11008
    )
    with torch.device("meta"):
        expected = LlamaForCausalLM(config).num_parameters()
    values = apply_settings(catalogue.find("llama-2-7b").config, {"hidden_size": 2048})
    assert count_architecture(values, formulas=False).total == expected == 2_832_336_896


def test_gpt_3_is_within_half_a_percent():
    assert off_by(catalogue.find("gpt-3")) < 0.005


@pytest.mark.parametrize(
    ("settings", "millions"),
    [
        ({}, 65),
        ({"encoder_layers": 2, "decoder_layers": 2}, 36),
        ({"encoder_layers": 4, "decoder_layers": 4}, 50),
        ({"encoder_layers": 8, "decoder_layers": 8}, 80),
        ({"d_model": 256}, 28),
        ({"d_model": 1024}, 168),
        ({"encoder_ffn_dim": 1024, "decoder_ffn_dim": 1024}, 53),
        ({"encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096}, 90),
    ],
    ids=str,
)
def test_the_first_transformer_is_that_of_its_papers_table_3(settings, millions):
    """Its figures follow from the 40,960 rows that tensor2tensor's table of embeddings has, and from no 37,000."""
    entry = catalogue.find("transformer-base")
    for rows, is_right in ((40_960, True), (37_000, False)):
        config = {
            **entry.config,
            **settings,
            "vocab_size": rows,
            "decoder_vocab_size": rows,
            "pad_token_id": 0,
        }
        sinusoids = 2 * config["max_position_embeddings"] * config["d_model"]
        trained = count_architecture(config, formulas=False).total - sinusoids
        assert (round(trained / 10**6) == millions) is is_right
    assert "40,960" in entry.note


def test_the_big_one_differs_by_its_vocabulary_alone():
    entry = catalogue.find("transformer-big")
    width, rows = entry.config["d_model"], entry.config["vocab_size"]
    fixed_and_biases = 2 * entry.config["max_position_embeddings"] * width + 18 * 4 * width
    layers = entry.count - rows * width - fixed_and_biases
    assert abs(layers + 36_000 * width - entry.published) / entry.published <= entry.tolerance
    assert "36,000" in entry.note


def test_transformer_base_is_within_the_papers_rounding():
    entry = catalogue.find("transformer-base")
    assert off_by(entry) <= entry.tolerance


# Finding


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("bert-large", "bert-large-uncased"),
        ("BERT_base", "bert-base-uncased"),
        ("google-bert/bert-base-uncased", "bert-base-uncased"),
        ("xlm-roberta-base", "xlm-roberta-base"),
        ("gpt-1", "openai-gpt"),
        ("GPT3", "gpt-3-175b"),
        ("gpt-3", "gpt-3-175b"),
        ("albert-base", "albert-base-v2"),
        ("emilyalsentzer/Bio_ClinicalBERT", "clinicalbert"),
        ("bigscience/bloom", "bloom-176b"),
        ("meta-llama/Llama-2-7b-hf", "llama-2-7b"),
        ("meta-llama/Llama-3.1-405B", "llama-3.1-405b"),
        ("mistral-7b", "mistral-7b-v0.1"),
        ("llama", "llama-7b"),
        ("llama-1", "llama-7b"),
        ("CodeLlama", "codellama-7b"),
        ("marian", "opus-mt-en-de"),
        ("nllb", "nllb-200-distilled-600m"),
        ("clip", "clip-vit-base-patch32"),
        ("whisper-large", "whisper-large"),
    ],
)
def test_names_that_people_type(typed, name):
    assert catalogue.find(typed).name == name


@pytest.mark.parametrize("typed", ["", "bert-huge", "my-org/bert-base-uncased", "bert-large/"])
def test_what_is_not_a_name(typed):
    assert catalogue.find(typed) is None


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("bert-bsae", "bert-base"),
        ("robrta-large", "roberta-large"),
        ("google/flan-t5-bse", "flan-t5-base"),
        ("llama2-7", "llama2-7b"),
    ],
)
def test_a_mistyped_name_has_near_ones(typed, name):
    near = catalogue.nearest(typed)
    assert near[0] == name
    assert len({catalogue.find(each).name for each in near}) == len(near)


def test_nothing_is_near_to_nonsense():
    assert catalogue.nearest("qqqqqqqqqqqq") == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("Vaswani", ["transformer-base", "transformer-big"]),
        ("mixtral", ["mixtral-8x7b", "mixtral-8x22b"]),
        ("gemma2", ["gemma-2-2b", "gemma-2-9b", "gemma-2-27b"]),
        ("2021 clip", [name for name in ENTRIES if name.startswith("clip-")]),
        ("no such thing", []),
    ],
)
def test_a_filter_looks_into_names_and_papers(words, found):
    assert [entry.name for entry in catalogue.matching(words)] == found


def test_no_words_match_everything():
    assert catalogue.matching("") == list(ENTRIES.values())


@pytest.mark.parametrize(
    ("text", "value", "tolerance"),
    [
        ("110M", 110_000_000, 5 / 110),
        ("65M", 65_000_000, 0.5 / 65),
        ("13.0B", 13_000_000_000, 0.05 / 13),
        ("1.23B", 1_230_000_000, 0.005 / 1.23),
        ("94.70M", 94_700_000, 0.005 / 94.7),
        ("1558M", 1_558_000_000, 0.5 / 1558),
        ("20,554,567,680", 20_554_567_680, 0),
    ],
)
def test_a_published_figure_is_as_good_as_its_digits(text, value, tolerance):
    found, share = figure(text)
    assert found == value
    assert share == pytest.approx(tolerance)


@pytest.mark.parametrize("text", ["", "M", "about 5B", "5B parameters"])
def test_what_is_no_figure(text):
    with pytest.raises(ValueError, match="figure"):
        figure(text)
