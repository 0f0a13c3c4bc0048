"""Record what the pipelines of transformers 4.57.6 answer, as the table llmkit's own are held against.

Run with transformers 4.57.6: ``python -m tests.tasks.golden.make_golden``. It builds tiny seeded models and tokenizers
under ``models/``, images under ``images/``, and writes one JSON file of cases per task family beside itself.
"""

import json
import shutil
import warnings

import transformers
from transformers import pipelines

from tests.tasks.golden.cases import (
    image_to_image_cases,
    image_to_text_cases,
    question_answering_cases,
    text_to_text_cases,
    visual_question_answering_cases,
)
from tests.tasks.golden.running import HERE, IMAGES, MODELS, call, load, plain
from tests.tasks.golden.tiny_models import (
    build_image_to_image,
    build_image_to_text,
    build_images,
    build_question_answering,
    build_text_to_text,
    build_visual_question_answering,
)


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
