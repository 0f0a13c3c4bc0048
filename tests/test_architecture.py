"""What holds for the whole of llmkit: who imports whom, how long a file is, what is documented, what start-up loads."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmkit
from llmkit.cli.main import COMMANDS
from tests.fixtures.command import base_environment

PACKAGE = Path(llmkit.__file__).parent
TESTS = Path(__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


each_file = pytest.mark.parametrize("path", FILES, ids=name_of)


# Who may import whom

BASE = {"errors", "wanted", "plugins", "telemetry", "_version"}
GROUND = {"tasks", "models", "data", "metrics", "batching", "launching", "units", "figures", "hardware"}
CAPABILITIES = {
    "inference",
    "embeddings",
    "architectures",
    "costs",
    "training",
    "insight",
    "sharing",
    "serving",
}
# They ask what a model will need before they load it, or before anybody trains it.
ASK_ARCHITECTURES = {"training", "inference", "costs"}

ALLOWED = (
    dict.fromkeys(BASE, BASE)
    | dict.fromkeys(GROUND, GROUND | BASE)
    | {
        room: GROUND | BASE | {room} | ({"architectures"} if room in ASK_ARCHITECTURES else set())
        for room in CAPABILITIES
    }
    # A server does what those two do, for requests.
    | {"serving": GROUND | BASE | {"serving", "inference", "embeddings"}}
    # A page does for a visitor what inference does for a file.
    | {"sharing": GROUND | BASE | {"sharing", "inference"}}
    | {
        "cli": {"cli"} | CAPABILITIES | GROUND | BASE,
        # The Python API, and `python -m llmkit`.
        "__init__": CAPABILITIES | GROUND | BASE,
        # A warm call goes by the parser of the command.
        "__main__": {"cli", "serving"},
    }
)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def room_named(module: str, name: str = "") -> str | None:
    """The room that ``import module``, or ``from module import name``, takes from; None outside llmkit."""
    package, *rest = module.split(".")
    if package != "llmkit":
        return None
    if rest:
        return rest[0]
    return "_version" if name == "__version__" else name if name in ALLOWED else "__init__"


def rooms_imported(tree: ast.Module, path: Path) -> Iterator[tuple[int, str]]:
    """Every import with its line, in functions too, and modules named by a string, to be imported later."""
    package = ["llmkit", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(tree):
        found: list[str | None] = []
        if isinstance(node, ast.Import):
            found = [room_named(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            found = [room_named(module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = re.fullmatch(r"llmkit\.(\w+)(\.\w+)*(:\w+)?", node.value)
            found = [named[1] if named and named[1] in ALLOWED else None]
        yield from ((node.lineno, room) for room in found if room is not None)


def breaches(tree: ast.Module, path: Path) -> list[str]:
    room = room_of(path)
    return [
        f"{name_of(path)}:{line}: {room} imports {other}"
        for line, other in rooms_imported(tree, path)
        if other not in ALLOWED[room]
    ]


@each_file
def test_imports_go_downwards(path):
    assert room_of(path) in ALLOWED, (
        "a new room: say in ALLOWED, and in docs/architecture.md, where it belongs"
    )
    assert breaches(TREES[path], path) == []


@pytest.mark.parametrize(
    ("room", "code", "count"),
    [
        ("data", "from llmkit import __version__", 0),
        ("tasks", "from llmkit.models.resolving import resolve_model", 0),
        ("training", "from llmkit.architectures import memory", 0),
        ("cli", "import llmkit.training.loop", 0),
        ("costs", "from llmkit.architectures import memory", 0),
        ("training", "from llmkit.costs import estimate", 1),
        ("embeddings", "from llmkit.architectures import memory", 1),
        ("embeddings", "def f():\n    from llmkit.inference.apply import rows", 1),
        ("embeddings", "from ..inference import apply", 1),
        ("embeddings", "from . import pooling", 0),
        ("data", "import llmkit.cli.options", 1),
        ("data", "from llmkit import cli", 1),
        ("data", "from llmkit import pipeline", 1),
        ("data", "LATER = 'llmkit.inference.apply'", 1),
        ("models", "import llmkit.inference, llmkit.training", 2),
    ],
)
def test_the_rule_itself(room, code, count):
    assert len(breaches(ast.parse(code), PACKAGE / room / "module.py")) == count


def test_the_page_names_what_there_is():
    page = (TESTS.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(?:[a-z]+/)*([a-z_0-9]+\.(?:py|json))", page))
    there = {path.name for root in (PACKAGE, TESTS, TESTS.parent / "docs") for path in root.rglob("*.*")}
    assert len(names) > 100
    assert names - there == set()
    rooms = {path.name for path in PACKAGE.iterdir() if any(path.glob("*.py"))}
    assert {room for room in rooms if f"`llmkit/{room}/`" not in page} == set()


# One idea a file

MOST_LINES = 400
ALL_FILES = [*FILES, *sorted(TESTS.rglob("*.py")), *sorted((TESTS.parent / "benchmarks").rglob("*.py"))]


@pytest.mark.parametrize("path", ALL_FILES, ids=name_of)
def test_a_long_file_says_why(path):
    """Two ideas make two files; one that is long gives its reason in its docstring, after "long:"."""
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    assert lines <= MOST_LINES or "long:" in (ast.get_docstring(ast.parse(text)) or ""), f"{lines} lines"


# What is public is documented

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
CLASSES = {
    node.name: node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
}
# Methods documented by the library that calls them, by how the name of its class ends.
OVERRIDES = {
    "Pipeline": {"preprocess", "forward", "postprocess", "check_model_type", "get_iterator", "run_single"},
    "TyperGroup": {"list_commands", "get_command", "format_commands", "invoke"},
}


def bases_of(node: ast.ClassDef) -> set[str]:
    """The names of a class's bases and of theirs, as far as they are classes of llmkit."""
    names = {ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases}
    return names.union(*(bases_of(CLASSES[name]) for name in names if name in CLASSES and name != node.name))


def is_protocol(node: ast.ClassDef) -> bool:
    return "Protocol" in bases_of(node)


PROTOCOL_METHODS = {
    method.name
    for node in CLASSES.values()
    if is_protocol(node)
    for method in node.body
    if isinstance(method, ast.FunctionDef)
}


def said_elsewhere(method: Definition, owner: ast.ClassDef) -> bool:
    """Whether what the method does is said by a protocol, a base class, or the getter it goes with."""
    decorators = [ast.unparse(decorator) for decorator in getattr(method, "decorator_list", [])]
    if method.name in PROTOCOL_METHODS or any(
        each.rpartition(".")[2] in ("setter", "deleter", "overload") for each in decorators
    ):
        return True
    bases = bases_of(owner)
    if any(
        method.name in methods and any(base.endswith(ending) for base in bases)
        for ending, methods in OVERRIDES.items()
    ):
        return True
    inherited = [each for name in bases if name in CLASSES for each in CLASSES[name].body]
    return any(
        isinstance(each, Definition) and each.name == method.name and ast.get_docstring(each)
        for each in inherited
    )


def undocumented(body: list[ast.stmt], owner: ast.ClassDef | None = None) -> Iterator[str]:
    for node in body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node) and not (owner and said_elsewhere(node, owner)):
            yield f"line {node.lineno}: {owner.name + '.' if owner else ''}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node.body, node)


@each_file
def test_what_is_public_has_a_docstring(path):
    tree = TREES[path]
    assert ast.get_docstring(tree) or not tree.body or path.stem == "_version", "the module has no docstring"
    assert list(undocumented(tree.body)) == []


# Nothing heavy at start-up

HEAVY = ("torch", "transformers", "datasets", "pandas", "numpy", "pyarrow")
STARTUP = """
import json, sys

chains, asked = {}, []

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in HEAVY and name not in chains:
            frame, chain = sys._getframe(1), []
            while frame is not None:
                module = frame.f_globals.get("__name__", "")
                if not module.startswith("importlib"):
                    chain.append(f"{module}:{frame.f_lineno}")
                frame = frame.f_back
            chains[name] = " < ".join(chain)

HEAVY, arguments = json.loads(sys.argv[1])
sys.meta_path.insert(0, Watch())
sys.addaudithook(lambda event, given: asked.append(event) if event.startswith("socket.") else None)
sys.argv = ["llmkit", *(arguments or [])]
code = 0
try:
    if arguments is None:
        import llmkit
    else:
        from llmkit.cli.main import main
        main()
except SystemExit as stop:
    code = stop.code
heavy = {name: chains.get(name, "") for name in HEAVY if name in sys.modules}
print(json.dumps({"code": code or 0, "heavy": heavy, "network": asked}), file=sys.stderr)
"""


def start(arguments, **settings):
    """Run the command in a fresh interpreter: its standard output, and what it left there."""
    done = subprocess.run(
        [sys.executable, "-c", STARTUP, json.dumps([HEAVY, arguments])],
        env=base_environment() | settings,
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    *said, left = done.stderr.splitlines()
    return done.stdout, "\n".join(said), json.loads(left)


def assert_light(left, code):
    assert left["heavy"] == {}
    assert left["network"] == []
    assert left["code"] == code


@pytest.mark.parametrize(
    "arguments",
    [
        None,
        ["--help"],
        ["--version"],
        *([command, "--help"] for command in COMMANDS),
        ["tasks"],
        ["tasks", "summarization"],
        ["schema", "evaluate"],
        ["schema", "pipeline", "summarization"],
    ],
    ids=lambda arguments: "import" if arguments is None else " ".join(arguments),
)
def test_start_up_is_light(arguments):
    stdout, _, left = start(arguments)
    assert_light(left, 0)
    assert bool(stdout) == (arguments is not None)


@pytest.mark.parametrize(
    ("words", "candidate"),
    [
        ("llmkit ", "pipeline"),
        ("llmkit pipeline ", "summarization"),
        ("llmkit pipeline summarization --dev", "--device"),
        ("llmkit finetune run.yaml --set training.ep", "training.epochs="),
        ("llmkit params bert-la", "bert-large"),
    ],
)
def test_completion_is_light(words, candidate):
    settings = {
        "_LLMKIT_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    stdout, _, left = start([], **settings)
    assert_light(left, 0)
    assert candidate in stdout.split()


CLASSIFY = ["pipeline", "text-classification"]
USAGE_ERRORS = {
    "unknown command": (["pipelin"], "pipeline"),
    "unknown task": (["pipeline", "sumarization", "x"], "summarization"),
    "unknown task to explain": (["tasks", "sumarization"], "summarization"),
    "unknown option": ([*CLASSIFY, "x", "--modle", "m"], "--modle"),
    "unknown parameter": ([*CLASSIFY, "x", "-p", "top_j=1"], "top_j"),
    "parameter of another type": ([*CLASSIFY, "x", "-p", "top_k=many"], "top_k"),
    "device": ([*CLASSIFY, "x", "--device", "gpuu"], "gpuu"),
    "dtype": ([*CLASSIFY, "x", "--dtype", "float12"], "float12"),
    "batch size": ([*CLASSIFY, "x", "--batch-size", "0"], "--batch-size"),
    "long": ([*CLASSIFY, "x", "--long", "cut"], "--long"),
    "max length": ([*CLASSIFY, "x", "--max-length", "0"], "--max-length"),
    "no input": (CLASSIFY, "stdin"),
    "missing file": ([*CLASSIFY, "-i", "{folder}/missing.csv"], "missing.csv"),
    "missing column": ([*CLASSIFY, "-i", "{folder}/reviews.csv", "--column", "reveiw"], "reveiw"),
    "empty file": ([*CLASSIFY, "-i", "{folder}/empty.txt"], "empty.txt"),
    "input format": ([*CLASSIFY, "-i", "{folder}/reviews.csv", "--input-format", "xml"], "xml"),
    "resume without output": ([*CLASSIFY, "x", "--resume"], "--resume"),
    "format": ([*CLASSIFY, "x", "--format", "xml"], "xml"),
    "ending of the output": ([*CLASSIFY, "x", "--output", "{folder}/out.xml"], "out.xml"),
    "split without dataset": ([*CLASSIFY, "x", "--split", "train"], "--split"),
    "no unit": (["cost", "gpt-3", "--tokens", "15"], "no unit"),
    "unknown accelerator": (["cost", "gpt-3", "--tokens", "15T", "--gpu", "h10"], "h100"),
    "labels": ([*CLASSIFY, "x", "--labels", "a,b"], "--labels"),
    "page for others": (["demo", "sentiment-analysis", "--host", "0.0.0.0"], "--auth"),
    "form of an export": (["export", "runs/x", "--to", "onx"], "onnx"),
}


@pytest.mark.parametrize("case", USAGE_ERRORS)
def test_usage_error_is_light(case, tmp_path):
    (tmp_path / "reviews.csv").write_text("id,review\n1,fine\n")
    (tmp_path / "empty.txt").touch()
    arguments, named = USAGE_ERRORS[case]
    stdout, said, left = start([each.replace("{folder}", str(tmp_path)) for each in arguments])
    assert stdout == ""
    assert named in said
    assert_light(left, 2)
