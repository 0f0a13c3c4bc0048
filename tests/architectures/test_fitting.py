"""Whether a model fits a memory, and the sizes a person types."""

import pytest

torch = pytest.importorskip("torch")

from llmkit.architectures.counting import count_architecture  # noqa: E402
from llmkit.architectures.fitting import CONTEXT_BYTES, available_bytes, fits, parse_size  # noqa: E402
from llmkit.architectures.lora import LoraSpec  # noqa: E402
from llmkit.errors import UsageError  # noqa: E402
from tests.architectures.small_models import counted  # noqa: E402


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24GB", 24 * 10**9),
        ("24 GB", 24 * 10**9),
        ("24g", 24 * 10**9),
        ("24GiB", 24 * 2**30),
        ("24gi", 24 * 2**30),
        ("80000MB", 80 * 10**9),
        ("512MiB", 2**29),
        ("1.5TB", 1_500 * 10**9),
        (".5GB", 5 * 10**8),
        ("1000b", 1000),
    ],
)
def test_parse_size(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GB",
        "24",
        "24XB",
        "-24GB",
        "0GB",
        "24 GB each",
        "infGB",
        "nanGB",
        "1e9GB",
        "٢GB",
        "9" * 400 + "GB",
    ],
)
def test_parse_size_refuses(text):
    with pytest.raises(UsageError, match="no size"):
        parse_size(text)


def test_a_mistyped_unit_is_told_the_nearest():
    with pytest.raises(UsageError, match="did you mean GiB"):
        parse_size("24GiBB")


def at(size, **options):
    options = {"batch_size": 1, "sequence_length": 2048} | options
    return {each.key: each for each in fits(LLAMA_2_7B, parse_size(size), **options)}


LLAMA_2_7B = count_architecture({"model_type": "llama", "max_position_embeddings": 4096}, formulas=False)


def test_a_7b_model_on_24_gb():
    found = at("24GB")
    assert [each.key for each in found.values() if each.fits] == [
        "inference_bfloat16",
        "inference_int8",
        "inference_int4",
        "training_lora_checkpointing",
        "training_qlora",
        "training_qlora_checkpointing",
    ]


def test_what_is_left_and_missing():
    for each in at("24GB").values():
        assert each.left == available_bytes(24 * 10**9) - each.needed
        assert each.fits == (each.left >= 0) == (each.largest_batch >= 1)


def test_the_largest_batch_fits_and_one_more_does_not():
    for key, each in at("80GB", sequence_length=512).items():
        if each.largest_batch:
            assert at("80GB", sequence_length=512, batch_size=each.largest_batch)[key].fits
        assert not at("80GB", sequence_length=512, batch_size=each.largest_batch + 1)[key].fits


def test_headroom_is_left():
    assert available_bytes(24 * 10**9) == round(0.95 * 24 * 10**9) - CONTEXT_BYTES


def test_a_memory_smaller_than_the_headroom_lacks_the_rest_of_the_headroom_too():
    small = 2**29
    for each in at("512MiB").values():
        assert each.available == round(0.95 * small) - CONTEXT_BYTES < 0
        assert each.left == each.available - each.needed
        assert not each.fits
        assert each.largest_batch == 0


def test_the_adapters_asked_for_are_counted():
    few, many = (at("24GB", lora=LoraSpec(r))["training_lora"] for r in (8, 256))
    assert many.needed > few.needed
    assert "r=256" in many.label
    with pytest.raises(UsageError, match="query"):
        at("24GB", lora=LoraSpec(8, ("query",)))


def test_an_encoder_runs_without_a_cache():
    found = {each.key: each for each in fits(counted("bert"), 10**10, batch_size=1, sequence_length=64)}
    assert "(0 +" in found["inference_bfloat16"].numbers
    assert all(each.fits for each in found.values())


def test_a_model_whose_activations_are_not_known_is_not_said_to_fit():
    mamba = count_architecture({"model_type": "mamba"}, formulas=False)
    for key, each in ((fit.key, fit) for fit in fits(mamba, 10**12, batch_size=1, sequence_length=64)):
        assert each.fits is (None if key.startswith("training") else True)
        assert each.largest_batch is None
    assert [fit.fits for fit in fits(mamba, 2 * 10**9, batch_size=1, sequence_length=64)].count(False) > 0
