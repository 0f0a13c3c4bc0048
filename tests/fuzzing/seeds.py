"""What fuzzing starts from: small inputs that are right, and the corpus."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping

from tests.corpus.cases import cases
from tests.corpus.contents import content_of

_CONFIG = b"task: text-classification\nmodel: m\ndata: {train: t.csv, validation: 0.1}\noutput: out\n"
_ROWS = b'{"text": "a", "n": [1, 2.5e3, null]}\n"b"\n'
_SQUAD = {
    "data": [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": "a b",
                    "qas": [{"id": 1, "question": "q", "answers": [{"text": "b", "answer_start": 2}]}],
                }
            ],
        }
    ]
}
_LARGEST = 20_000  # bytes of a seed


def _tar(mode: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as tar:
        member = tarfile.TarInfo("model/config.json")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"{}"))
    return packed.getvalue()


def _zip() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr("model/config.json", "{}")
    return packed.getvalue()


def _safetensors() -> bytes:
    header = json.dumps({"embeddings": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(8)


def _npy() -> bytes:
    import numpy

    packed = io.BytesIO()
    numpy.save(packed, numpy.zeros((2, 3), numpy.float32))
    return packed.getvalue()


def _parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    packed = io.BytesIO()
    table = pyarrow.table({"text": ["a", "b"], "embedding": [[1.0, 2.0], [3.0, 4.0]]})
    pyarrow.parquet.write_table(table, packed)
    return packed.getvalue()


def _good() -> Mapping[str, bytes]:
    request = b'{"inputs": ["a"], "parameters": {"top_k": 1}}'
    labels = b'{"inputs": "a", "parameters": {"candidate_labels": ["a", "b"], "hypothesis_template": "{}"}}'
    chat = b'{"inputs": {"messages": [{"role": "user", "content": "a"}]}}'
    return {
        "txt": b"a\nb\n",
        "csv": b'text,n\n"a, b",1\nc,2\n',
        "tsv": b"text\tn\na\t1\n",
        "json": b"[" + _ROWS.replace(b"\n", b",", 1) + b"]",
        "jsonl": _ROWS,
        "squad": json.dumps(_SQUAD).encode(),
        "conll": b"-DOCSTART- O\n\nJohn NNP B-PER\nlives VB O\n\n",
        "parquet": _parquet(),
        "stream": _ROWS,
        "gzip": gzip.compress(_ROWS, mtime=0),
        "config": _CONFIG,
        "value": b"{a: [1, 2], b: &x c, d: *x}",
        "headers": _safetensors(),
        "index": b'{"weight_map": {"a": "a.safetensors"}}',
        "model": b'{"model_type": "bert", "num_hidden_layers": 2}',
        "adapter": b'{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "alpha_pattern": {"query": 8}}',
        "vectors-npy": _npy(),
        "vectors-safetensors": _safetensors(),
        "vectors-jsonl": b'{"text": "a", "embedding": [1, 2]}\n',
        "vectors-csv": b"text,d0,d1\na,1,2\n",
        "vectors-parquet": _parquet(),
        "tar": _tar("w"),
        "tar.gz": _tar("w:gz"),
        "zip": _zip(),
        "run-log.jsonl": b'{"step": 1, "loss": 0.5, "eval_loss": 1.0}\n',
        "run-metrics.json": b'{"accuracy": 0.5, "steps": 10}',
        "run-config.yaml": _CONFIG,
        "run-run.json": b'{"begun": "2026-01-01T00:00:00+00:00", "total_steps": 10}',
        "request-text-classification": request,
        "request-zero-shot-classification": labels,
        "request-conversational": chat,
    }


GOOD = _good()
# Which cases of the corpus a target can begin with, by how their files end.
_KINDS = {
    "config": ("configs", ".yaml"),
    "csv": ("rows", ".csv"),
    "json": ("rows", ".json"),
    "jsonl": ("rows", ".jsonl"),
    "gzip": ("rows", ".gz"),
    "parquet": ("parquet", ".parquet"),
    "vectors-npy": ("vectors", ".npy"),
    "vectors-safetensors": ("vectors", ".safetensors"),
    "zip": ("archives", ".zip"),
    "tar": ("archives", ".tar"),
    "tar.gz": ("archives", ".tar.gz"),
    "headers": ("archives", ".safetensors"),
}


def seeds(target: str) -> list[bytes]:
    """Return what a target begins with."""
    kind, ending = _KINDS.get(target, ("", ""))
    found = [GOOD[target]]
    for case in cases(kind) if kind else ():
        for name, said in case.files.items():
            if name.endswith(ending) and not _is_large(said):
                data = content_of(said, _no_model)
                found += [data] if len(data) <= _LARGEST else []
    return found


def _is_large(said: object) -> bool:
    return any(word in json.dumps(said) for word in ('"times"', '"tiny"', '"link"', '"fifo"'))


def _no_model(name: str) -> object:
    raise LookupError(name)
