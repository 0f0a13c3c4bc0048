"""What every test can ask for: the real command, and tiny real models."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.fixtures.command import CACHE, Command

pytest_plugins = ["tests.fixtures.ended"]

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["LLMKIT_CACHE"] = CACHE

# A shell's script has what it starts in the background ignore interruptions, and nohup hang-ups; and so would every
# command that a test starts and signals.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

# Time is never asserted in a test.
settings.register_profile("llmkit", deadline=None)
settings.load_profile("llmkit")


@pytest.fixture(scope="session", autouse=True)
def compiled_attention() -> None:
    """Our own attention is compiled before anything computes: its results and PyTorch's differ in the last bits."""
    from llmkit.models.native_attention import CODE

    CODE.compile_ahead()
    CODE.load()


@pytest.fixture(scope="session")
def llmkit() -> Iterator[Command]:
    """The command `llmkit`."""
    with Command() as command:
        yield command


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny real model for a task, built once a session: `tiny("fill-mask")` gives its folder."""
    from tests.fixtures import tiny as builders

    root = tmp_path_factory.mktemp("tiny")
    built: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in built:
            builder = getattr(builders, f"build_{name}", None)
            built[name] = builder(root / name) if builder else builders.build(name, root / name)
        return built[name]

    return build


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public data; a test that asks for it is skipped where it is not."""
    folder = Path(os.environ.get("LLMKIT_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; LLMKIT_DATA names another folder")
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser without a window; a test that asks for it is skipped where there is none."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="the extra browser is not installed: make browser"
    )
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no chromium: make browser")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """The code of attention, compiled with some flags: a library, or None where this machine has no use for it."""
    from llmkit.models import native_code

    made: dict[tuple[str, ...], Any] = {}
    cache = tmp_path_factory.mktemp("compiled")

    def compile_with(*flags: str) -> Any:
        if flags not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("LLMKIT_CACHE", str(cache))
                patch.delenv("LLMKIT_NATIVE", raising=False)
                patch.setattr(native_code, "FLAGS", (*native_code.FLAGS, *flags))
                code = native_code.NativeCode("attention")
                code.compile_ahead()
                made[flags] = code.load()
        return made[flags]

    return compile_with


@pytest.fixture(params=["here", "avx2"])
def native(
    request: pytest.FixtureRequest, compiled: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Our own attention is in use, once for this processor and once for one without 512-bit vectors."""
    from llmkit.models import native_attention
    from llmkit.models.processor import processor

    if not processor()[1] >= {"avx2", "fma"}:
        pytest.skip("the processor has no vectors that the code is written for")
    library = compiled(*(["-march=haswell"] if request.param == "avx2" else []))
    if library is None:
        pytest.skip("there is no C compiler")
    monkeypatch.delenv("LLMKIT_NATIVE", raising=False)
    monkeypatch.setattr(native_attention.CODE, "_library", library)
    return str(request.param)


@pytest.fixture
def four_threads() -> Iterator[None]:
    """PyTorch with four threads, which must be so at the end too."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    after = torch.get_num_threads()
    torch.set_num_threads(before)
    assert after == 4
