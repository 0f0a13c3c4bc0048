"""Record what the pipelines of transformers 4.57.6 answer, as the table llmkit's own are held against.

Run with transformers 4.57.6: ``python tests/tasks/golden/make_golden.py``. It builds tiny seeded models and tokenizers
under ``models/``, images under ``images/``, and writes one JSON file of cases per task family beside itself.
"""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
    pipelines,
)
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.pipelines.pt_utils import KeyDataset

HERE = Path(__file__).parent
MODELS = HERE / "models"
IMAGES = HERE / "images"

CORPUS = """Hugging Face was founded in Paris and New York by three friends.
The river Seine flows through Paris, and the Eiffel Tower stands near its bank.
My name is Wolfgang and I live in Berlin with my dog and two cats.
The bicycle was invented in Germany; the first train ran in England in 1804.
She bought bread, cheese and wine at the market on Monday morning.
The museum opens at nine and closes at six, except on Tuesday.
La tour est haute et la ville est grande. Le chat dort sur la chaise.
How old are you? What is the capital of France? Who wrote the book?
Summarize the text: a long story about a small village by the sea.
translate English to French, translate English to German, question and context.
The quick brown fox jumps over the lazy dog while the old man reads a newspaper.
Zürich liegt in der Schweiz; naïve café owners drink jalapeño soup in São Paulo.
""".splitlines()

STORY = (
    "Marie lived in a small village by the sea. Every morning she walked to the market and bought bread and cheese. "
    "In 1804 the first train came to the village, and with it came Wolfgang, who had founded a museum in Berlin. "
    "He told her about the Eiffel Tower in Paris, about the river Seine, and about three friends from New York. "
    "The museum opens at nine and closes at six, except on Tuesday. On Monday the old man reads a newspaper, and "
    "the lazy dog sleeps under the chair. Marie moved to Zürich, where she drinks jalapeño soup in a naïve café. "
    "The quick brown fox jumps over the lazy dog while the two cats sleep. In the end Marie wrote a book about it."
)


# Tokenizers. What a trainer learns does not change from one run to the next, but how it numbers that does.


def wordpiece(folder, vocab_size=220, **more):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    letters = sorted(set(tokenizer.normalizer.normalize_str("".join(CORPUS))) - {" "})
    # Letters inside words are numbered in the order of a hash map, unless they are there before.
    first = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"##{letter}" for letter in letters)]
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=first, show_progress=False)
    trained = Tokenizer.from_str(tokenizer.to_str())
    trained.train_from_iterator(CORPUS, trainer)
    tokenizer.model = models.WordPiece(trained.get_vocab(), unk_token="[UNK]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.decoder = decoders.WordPiece()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=128,
        **more,
    )
    fast.save_pretrained(folder)
    return fast


def byte_level(folder, vocab_size=330, **special):
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=96,
        model_input_names=["input_ids", "attention_mask"],
        **special,
    )
    fast.save_pretrained(folder)
    return fast


def unigram_model(special, vocab_size):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    trained = Tokenizer.from_str(tokenizer.to_str())
    trained.train_from_iterator(CORPUS, trainer)
    pieces = json.loads(trained.to_str())["model"]["vocab"][len(special) :]
    # The last digits of a score come from sums over a hash map, and the order of the pieces from the scores.
    pieces = sorted(((piece, round(score, 2)) for piece, score in pieces), key=lambda one: (-one[1], one[0]))
    vocab = [*((token, 0.0) for token in special), *pieces]
    tokenizer.model = models.Unigram(vocab, unk_id=special.index("<unk>"))
    return tokenizer


def t5_tokenizer(folder):
    tokenizer = unigram_model(["<pad>", "</s>", "<unk>"], 200)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=64,
    )
    fast.save_pretrained(folder)
    return fast


def mbart50_tokenizer(folder):
    from transformers.models.mbart50.tokenization_mbart50_fast import FAIRSEQ_LANGUAGE_CODES

    pieces = json.loads(unigram_model(["<s>", "<pad>", "</s>", "<unk>"], 200).to_str())["model"]["vocab"]
    vocab = [*map(tuple, pieces), *((code, 0.0) for code in FAIRSEQ_LANGUAGE_CODES), ("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ("<s>", "<pad>", "</s>", "<unk>")])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    fast = transformers.MBart50TokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), src_lang="en_XX", tgt_lang="fr_XX"
    )
    fast.save_pretrained(folder)
    return fast


# Models


def save(model, folder, scale=None):
    """Save with float32 weights; `scale` multiplies the named parameters, to make the outputs less uniform."""
    for name, factor in (scale or {}).items():
        for parameter_name, parameter in model.named_parameters():
            if name in parameter_name:
                parameter.data *= factor
    model.eval().save_pretrained(folder)


def build_question_answering():
    folder = MODELS / "bert-qa"
    tokenizer = wordpiece(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=128,
        initializer_range=0.3,
    )
    save(transformers.BertForQuestionAnswering(config), folder, {"qa_outputs": 3.0})

    folder = MODELS / "roberta-qa"
    tokenizer = byte_level(folder)
    torch.manual_seed(1)
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=98,
        type_vocab_size=1,
        initializer_range=0.3,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    save(transformers.RobertaForQuestionAnswering(config), folder, {"qa_outputs": 3.0})


def build_text_to_text():
    folder = MODELS / "t5"
    tokenizer = t5_tokenizer(folder)
    torch.manual_seed(2)
    config = transformers.T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
        initializer_factor=1.0,
        tie_word_embeddings=False,
        task_specific_params={
            "summarization": {
                "prefix": "summarize: ",
                "max_length": 14,
                "min_length": 4,
                "num_beams": 3,
                "length_penalty": 2.0,
                "early_stopping": True,
                "no_repeat_ngram_size": 3,
            },
            "translation_en_to_fr": {"prefix": "translate English to French: ", "num_beams": 2},
            "translation_en_to_de": {
                "prefix": "translate English to German: ",
                "max_new_tokens": 9,
                "num_beams": 4,
            },
        },
    )
    save(transformers.T5ForConditionalGeneration(config), folder, {"lm_head": 4.0})

    folder = MODELS / "bart"
    tokenizer = byte_level(folder)
    torch.manual_seed(3)
    model = transformers.BartForConditionalGeneration(bart_config(len(tokenizer), prefix="context: "))
    model.generation_config = GenerationConfig(
        max_length=20 + 4,
        decoder_start_token_id=2,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
        no_repeat_ngram_size=2,
    )
    save(model, folder)

    folder = MODELS / "mbart50"
    tokenizer = mbart50_tokenizer(folder)
    torch.manual_seed(4)
    config = transformers.MBartConfig(**bart_config(len(tokenizer)).to_diff_dict() | {"model_type": "mbart"})
    model = transformers.MBartForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        max_new_tokens=12, decoder_start_token_id=2, bos_token_id=0, eos_token_id=2, pad_token_id=1
    )
    save(model, folder)


def bart_config(vocab_size, **more):
    return transformers.BartConfig(
        vocab_size=vocab_size,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=96,
        init_std=0.4,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
        **more,
    )


VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 24,
    "patch_size": 8,
}
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}


def build_image_to_text():
    folder = MODELS / "vit-gpt2"
    tokenizer = byte_level(folder)
    transformers.ViTImageProcessor(size={"height": 24, "width": 24}).save_pretrained(folder)
    torch.manual_seed(5)
    decoder = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=64,
        initializer_range=0.5,
        add_cross_attention=True,
        is_decoder=True,
        bos_token_id=0,
        eos_token_id=2,
    )
    encoder = transformers.ViTConfig(initializer_range=0.5, **VIT)
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 0, 1, 2
    model = transformers.VisionEncoderDecoderModel(config)
    model.generation_config = GenerationConfig(
        max_length=16, decoder_start_token_id=0, bos_token_id=0, eos_token_id=2, pad_token_id=1
    )
    save(model, folder)

    folder = MODELS / "blip"
    torch.manual_seed(6)
    save(transformers.BlipForConditionalGeneration(blip_config(folder)), folder)


def blip_config(folder):
    tokenizer = wordpiece(folder, model_input_names=["input_ids", "attention_mask"])
    transformers.BlipImageProcessor(size={"height": 24, "width": 24}).save_pretrained(folder)
    text = {
        "vocab_size": len(tokenizer),
        "bos_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
        "max_position_embeddings": 64,
        "encoder_hidden_size": 16,
        "projection_dim": 16,
        "initializer_range": 0.5,
    }
    return transformers.BlipConfig(
        text_config=text | TEXT,
        vision_config=VIT | {"initializer_range": 0.5},
        projection_dim=16,
        image_text_hidden_size=16,
    )


def build_visual_question_answering():
    folder = MODELS / "vilt-vqa"
    tokenizer = wordpiece(folder)
    transformers.ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=16).save_pretrained(folder)
    torch.manual_seed(7)
    config = transformers.ViltConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=40,
        image_size=32,
        patch_size=16,
        initializer_range=0.3,
        num_labels=7,
        id2label={i: f"answer {i}" for i in range(7)},
        **TEXT,
    )
    save(transformers.ViltForQuestionAnswering(config), folder)

    folder = MODELS / "blip-vqa"
    torch.manual_seed(8)
    save(transformers.BlipForQuestionAnswering(blip_config(folder)), folder)


def build_image_to_image():
    folder = MODELS / "swin2sr"
    transformers.Swin2SRImageProcessor(pad_size=8).save_pretrained(folder)
    torch.manual_seed(9)
    config = transformers.Swin2SRConfig(
        image_size=16,
        embed_dim=12,
        depths=[1, 1],
        num_heads=[2, 2],
        window_size=4,
        upscale=2,
        mlp_ratio=1.5,
        initializer_range=0.2,
    )
    save(transformers.Swin2SRForImageSuperResolution(config), folder)


def build_images():
    random = np.random.default_rng(0)
    for name, (height, width) in {
        "a": (24, 24),
        "b": (24, 24),
        "c": (24, 24),
        "wide": (32, 48),
        "square": (32, 32),
        "small": (18, 21),
    }.items():
        ramp = np.linspace(0, 200, width)[None, :, None] * np.linspace(0.2, 1, height)[:, None, None]
        noise = random.integers(0, 55, (height, width, 3))
        Image.fromarray((ramp + noise).astype(np.uint8)).save(IMAGES / f"{name}.png")


# Cases. Each is {"model", "class", "task", ...}; `call` runs one, here and in the tests alike.


def case(model, cls, *args, task="", tokenizer=None, init=None, stream=None, **kwargs):
    return {
        "model": model,
        "class": cls,
        "task": task,
        "tokenizer": tokenizer or {},
        "init": init or {},
        "stream": stream,
        "args": list(args),
        "kwargs": kwargs,
    }


def question_answering_cases():
    ask = "Where does Wolfgang live?"
    short = "My name is Wolfgang and I live in Berlin."
    other = ["Where is the Eiffel Tower?", "Who wrote the book?", "When did the first train come?"]
    records = [{"question": asked, "context": STORY} for asked in other]
    unicode_context = "Zürich — naïve café 🍲 jalapeño\nsoup;  São Paulo 教科書 end."

    def qa(*args, **more):
        return case("bert-qa", "QuestionAnsweringPipeline", *args, task="question-answering", **more)

    cases = [
        qa(question=ask, context=short),
        qa(ask, short),
        qa({"question": ask, "context": short}),
        qa([{"question": ask, "context": short}]),
        qa(question=[ask, *other], context=short),
        qa(question=other, context=[short, STORY, CORPUS[0]]),
        qa(records),
        qa(records, stream="generator"),
        qa(records, stream="dataset"),
        qa(records, batch_size=2),
        qa(records, batch_size=3, stream="generator"),
        qa(question=ask, context=STORY),
        qa(question=ask, context=unicode_context),
        qa(question=ask, context=unicode_context, align_to_words=False, top_k=3),
        qa(question=ask, context=short, init={"top_k": 3, "max_answer_len": 4}),
        qa(question=ask, context=short, init={"top_k": 3}, top_k=1),
        qa(question=ask, context=short, handle_impossible_answer=True),
        qa(question=ask, context=short, padding="max_length", max_seq_len=64),
        qa(records, tokenizer={"padding_side": "left"}),
        qa(question=ask, context=short, tokenizer={"padding_side": "left"}, top_k=2),
    ]
    for question in other:
        for options in (
            {"doc_stride": 8},
            {"doc_stride": 0, "max_seq_len": 40},
            {"max_seq_len": 70},
            {"top_k": 3},
            {"doc_stride": 20, "max_seq_len": 60, "top_k": 5},
            {"max_answer_len": 1},
            {"max_answer_len": 40},
            {"align_to_words": False},
            {"align_to_words": False, "top_k": 4, "max_seq_len": 70},
            {"handle_impossible_answer": True, "top_k": 4},
            {"handle_impossible_answer": True},
        ):
            cases.append(qa(question=question, context=STORY, **options))
            cases.append({**cases[-1], "model": "roberta-qa"})
    cases.append({**qa(question=ask, context=unicode_context), "model": "roberta-qa"})
    cases.append({**qa(question=ask, context=unicode_context, top_k=4), "model": "roberta-qa"})
    return cases


def text_to_text_cases():
    texts = ["The quick brown fox jumps over the lazy dog.", "How old are you?", STORY[:109]]
    generate, summarize = "Text2TextGenerationPipeline", "SummarizationPipeline"
    translate, english_french = "TranslationPipeline", "translation_en_to_fr"
    cases = []
    for model in ("t5", "bart"):
        cases += [case(model, generate, text, max_new_tokens=12) for text in texts]
        cases += [
            case(model, generate, texts, max_new_tokens=10),
            case(model, generate, texts, max_new_tokens=10, batch_size=2),
            case(model, generate, texts, max_new_tokens=10, stream="generator"),
            case(model, generate, texts, max_new_tokens=10, stream="dataset"),
            case(model, generate, texts[:1], max_new_tokens=10),
            case(model, generate, texts[0], max_new_tokens=8, num_beams=1),
            case(model, generate, texts[0], max_new_tokens=8, num_beams=1, min_new_tokens=6),
            case(model, generate, texts[0], max_new_tokens=8, num_return_sequences=3),
            case(model, generate, texts, max_new_tokens=8, num_return_sequences=2, batch_size=3),
            case(model, generate, texts[0], max_new_tokens=8, return_tensors=True),
            case(model, generate, texts, max_new_tokens=8, return_tensors=True),
            case(model, generate, texts[0], max_new_tokens=8, clean_up_tokenization_spaces=True),
            case(model, generate, STORY, max_new_tokens=8, truncation=True),
            case(model, generate, STORY, max_new_tokens=8, truncation="only_first"),
            case(model, generate, "", max_new_tokens=6),
            case(model, generate, texts[0], init={"max_new_tokens": 7, "num_beams": 2}),
            case(model, generate, texts[0], init={"max_new_tokens": 7, "num_beams": 2}, num_beams=1),
            case(model, generate, texts[0], generation_config={"max_new_tokens": 6}),
            case(
                model,
                generate,
                texts[0],
                generation_config={"max_new_tokens": 6, "num_beams": 2, "min_length": 4},
            ),
            case(model, generate, texts[0], max_new_tokens=9, repetition_penalty=1.6, no_repeat_ngram_size=2),
            case(model, summarize, texts[2], max_new_tokens=9),
            case(model, summarize, texts[2], task="summarization", max_new_tokens=9),
            case(model, summarize, texts, task="summarization", max_new_tokens=9, batch_size=2),
            case(model, summarize, texts[2], task="summarization", max_new_tokens=9, num_beams=5),
            case(model, summarize, texts[2], task="summarization", max_new_tokens=9, return_tensors=True),
            case(model, translate, texts[1], task=english_french, max_new_tokens=9),
            case(model, translate, texts, task=english_french, max_new_tokens=9),
            case(model, translate, texts, task=english_french, max_new_tokens=9, stream="generator"),
            case(model, translate, texts[1], task="translation_en_to_de"),
        ]
    cases += [case("bart", generate, texts[0]), case("bart", summarize, texts[2], task="summarization")]
    languages = {"src_lang": "en_XX", "tgt_lang": "fr_XX"}
    multilingual = [
        case("mbart50", translate, texts[0], task="translation", **languages),
        case("mbart50", translate, texts[0], task="translation", src_lang="en_XX", tgt_lang="de_DE"),
        case("mbart50", translate, texts[0], task="translation", src_lang="fr_XX", tgt_lang="de_DE"),
        case("mbart50", translate, texts, task="translation", **languages),
        case("mbart50", translate, texts, task="translation", batch_size=2, **languages),
        case("mbart50", translate, texts, task="translation", stream="generator", **languages),
        case("mbart50", translate, texts[1], task="translation", init=languages),
        case("mbart50", translate, texts[1], task="translation", init=languages, tgt_lang="ro_RO"),
        case(
            "mbart50",
            translate,
            texts[1],
            task="translation",
            num_return_sequences=2,
            num_beams=3,
            **languages,
        ),
        case("mbart50", translate, texts[1], task="translation", return_tensors=True, **languages),
        case("mbart50", translate, STORY, task="translation", truncation=True, **languages)
        | {"tokenizer": {"model_max_length": 32}},
    ]
    for one in multilingual:
        # 4.57.6 overrides the model's own max_new_tokens by the pipeline's 256, more than this model has positions.
        one["kwargs"]["max_new_tokens"] = 12
    return cases + multilingual


def image_to_text_cases():
    images = ["image:a.png", "image:b.png", "image:c.png"]
    cases = []
    for model in ("vit-gpt2", "blip"):
        cases += [case(model, "ImageToTextPipeline", image, max_new_tokens=10) for image in images]
        cases += [
            case(model, "ImageToTextPipeline", images, max_new_tokens=10),
            case(model, "ImageToTextPipeline", images, max_new_tokens=10, batch_size=2),
            case(model, "ImageToTextPipeline", images, max_new_tokens=10, stream="generator"),
            case(model, "ImageToTextPipeline", images[:1], max_new_tokens=10),
            case(
                model, "ImageToTextPipeline", images[0], generate_kwargs={"max_new_tokens": 7, "num_beams": 3}
            ),
            case(model, "ImageToTextPipeline", images[0], init={"max_new_tokens": 5}),
        ]
    cases += [
        case("vit-gpt2", "ImageToTextPipeline", images[1]),
        case("vit-gpt2", "ImageToTextPipeline", images[1], init={"generate_kwargs": {"max_length": 5}}),
        case("blip", "ImageToTextPipeline", images[0], prompt="the old man", max_new_tokens=8),
        case("blip", "ImageToTextPipeline", images, prompt="the", max_new_tokens=8, batch_size=3),
    ]
    return [{**one, "task": "image-to-text"} for one in cases]


def visual_question_answering_cases():
    images, name = ["image:square.png", "image:wide.png"], "VisualQuestionAnsweringPipeline"
    questions = ["How old are you?", "What is the capital of France?"]
    cases = [
        case("vilt-vqa", name, image=images[0], question=questions[0]),
        case("vilt-vqa", name, image=images[1], question=questions[1], top_k=2),
        case("vilt-vqa", name, image=images[0], question=questions[1], top_k=50),
        case("vilt-vqa", name, image=images, question=questions[1]),
        case("vilt-vqa", name, image=images[0], question=questions, top_k=1),
        case("vilt-vqa", name, image=images, question=questions, top_k=3),
        case("vilt-vqa", name, image=images[:1], question=questions, top_k=3, batch_size=2),
        case("vilt-vqa", name, {"image": images[0], "question": questions[0]}),
        case(
            "vilt-vqa",
            name,
            [{"image": images[0], "question": asked} for asked in questions],
            init={"top_k": 2},
        ),
        case(
            "vilt-vqa", name, [{"image": one, "question": questions[0]} for one in images], stream="generator"
        ),
        case(
            "vilt-vqa",
            name,
            image=images[0],
            question=questions[0] * 9,
            truncation=True,
            padding="max_length",
        )
        | {"tokenizer": {"model_max_length": 24}},
        case("blip-vqa", name, image="image:a.png", question=questions[0], init={"max_new_tokens": 8}),
        case("blip-vqa", name, image="image:a.png", question=questions, init={"max_new_tokens": 8}),
        case(
            "blip-vqa",
            name,
            image="image:b.png",
            question=questions,
            init={"max_new_tokens": 8},
            batch_size=2,
        ),
        case("blip-vqa", name, image="image:b.png", question=questions[1], init={"max_new_tokens": 4}),
    ]
    return [{**one, "task": "visual-question-answering"} for one in cases]


def image_to_image_cases():
    name = "ImageToImagePipeline"
    cases = [
        case("swin2sr", name, "image:square.png"),
        case("swin2sr", name, "image:small.png"),
        case("swin2sr", name, ["image:a.png", "image:square.png"]),
        case("swin2sr", name, ["image:a.png", "image:b.png", "image:c.png"], batch_size=2),
        case("swin2sr", name, ["image:a.png", "image:b.png"], stream="generator"),
    ]
    return [{**one, "task": "image-to-image"} for one in cases]


# Running


def resolved(value):
    """Return the value with every "image:NAME" opened."""
    if isinstance(value, str) and value.startswith("image:"):
        return Image.open(IMAGES / value.removeprefix("image:"))
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if isinstance(value, dict):
        return {key: resolved(item) for key, item in value.items()}
    return value


def call(pipe, one):
    """Run one case on a pipeline; a stream is used up into a list."""
    args, kwargs = resolved(one["args"]), resolved(one["kwargs"])
    if "generation_config" in kwargs:
        kwargs["generation_config"] = GenerationConfig(**kwargs["generation_config"])
    if one["stream"] == "generator":
        args[0] = (item for item in args[0])
    elif one["stream"] == "dataset":
        args[0] = KeyDataset([{"column": item} for item in args[0]], "column")
    result = pipe(*args, **kwargs)
    return list(result) if one["stream"] else result


def load(one, classes):
    folder = MODELS / one["model"]
    config = json.loads((folder / "config.json").read_text())
    parts = {"model": getattr(transformers, config["architectures"][0]).from_pretrained(folder).eval()}
    if (folder / "tokenizer.json").exists():
        parts["tokenizer"] = AutoTokenizer.from_pretrained(folder, **one["tokenizer"])
    if (folder / "preprocessor_config.json").exists():
        parts["image_processor"] = AutoImageProcessor.from_pretrained(folder)
    return getattr(classes, one["class"])(**parts, task=one["task"], device="cpu", **one["init"])


def plain(value):
    """Return the result with tensors as lists and images as {"size", "pixels"}."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, Image.Image):
        return {"size": list(value.size), "pixels": np.asarray(value).reshape(-1).tolist()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def chunk_answers(pipe, one):
    """Return, for each input of a question answering case, what 4.57.6 says of each of its chunks alone."""
    from transformers.pipelines import question_answering

    recorded, original, select = [], pipe.postprocess, question_answering.select_starts_ends

    def postprocess(outputs, **params):
        nulls = []

        def selected(*args, **kwargs):
            nulls.append(select(*args[:6], True, *args[7:], **kwargs)[3])
            return select(*args, **kwargs)

        question_answering.select_starts_ends = selected
        quiet = {**params, "handle_impossible_answer": False}
        answers = [original([output], **quiet) for output in outputs]
        question_answering.select_starts_ends = select
        best = [original([output], **quiet | {"top_k": 1}) for output in outputs]
        answers = [found if isinstance(found, list) else [found] for found in answers]
        recorded.append({"best": best, "answers": answers, "null": min(nulls)})
        return original(outputs, **params)

    pipe.postprocess = postprocess
    call(pipe, one)
    return recorded


def record(name, cases):
    for index, one in enumerate(cases):
        one["id"] = f"{one['model']}-{index:03d}"
        # A fresh pipeline for every case: 4.57.6 writes into the config of the model it is given.
        one["expected"] = plain(call(load(one, pipelines), one))
        if one["class"] == "QuestionAnsweringPipeline":
            one["chunks"] = chunk_answers(load(one, pipelines), one)
    text = json.dumps(
        {"transformers": transformers.__version__, "cases": cases}, ensure_ascii=False, indent=None
    )
    (HERE / f"{name}.json").write_text(text.replace('{"model"', '\n{"model"') + "\n", encoding="utf-8")
    print(f"{name}: {len(cases)} cases")


def main():
    if transformers.__version__ != "4.57.6":
        raise SystemExit(f"needs transformers 4.57.6, not {transformers.__version__}")
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    for folder in (MODELS, IMAGES):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    families = {
        "question_answering": (build_question_answering, question_answering_cases),
        "text_to_text": (build_text_to_text, text_to_text_cases),
        "image_to_text": (build_image_to_text, image_to_text_cases),
        "visual_question_answering": (build_visual_question_answering, visual_question_answering_cases),
        "image_to_image": (build_image_to_image, image_to_image_cases),
    }
    build_images()
    for name, (build, cases) in families.items():
        build()
        record(name, cases())


if __name__ == "__main__":
    main()
