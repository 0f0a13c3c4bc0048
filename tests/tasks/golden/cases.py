"""The calls that are recorded: each is {"model", "class", "task", ...}, as `running.call` takes it."""

from tests.tasks.golden.texts import CORPUS, STORY


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
