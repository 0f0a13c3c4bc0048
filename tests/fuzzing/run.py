"""Fuzz a target for a while: ``python -m tests.fuzzing.run csv --seconds 60``; without a name, one after the other.

Needs the extra `fuzz` (atheris). What it finds is written as ``crash-…`` or ``timeout-…`` into a folder, and becomes a
case of the corpus once it is understood and made small: ``--minimize FILE`` does the latter.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

MOST_MEMORY = 2048  # mebibytes
MOST_SECONDS = 10  # for one input


def main() -> int:
    """Read the arguments and fuzz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--found", type=Path, default=Path(tempfile.gettempdir(), "llmkit-fuzzing"))
    parser.add_argument("--minimize", type=Path)
    given = parser.parse_args()
    if given.target is None:
        return _all(given.seconds, given.found)
    _fuzz(given.target, given.seconds, given.found, given.minimize)
    return 0


def _all(seconds: int, found: Path) -> int:
    """Fuzz each target in a process of its own: atheris ends the one that it runs in."""
    from tests.fuzzing.targets import NAMES

    failed = []
    for name in NAMES:
        call = [
            sys.executable,
            "-m",
            "tests.fuzzing.run",
            name,
            "--seconds",
            str(seconds),
            "--found",
            str(found),
        ]
        done = subprocess.run(call, capture_output=True, text=True, check=False, errors="replace")
        last = [line for line in done.stderr.splitlines() if line.startswith(("stat::", "Done ", "#"))][-1:]
        print(name, "fine" if done.returncode == 0 else "FAILED", *last, flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stdout[-3000:], done.stderr[-3000:], flush=True)
    return len(failed)


def _fuzz(name: str, seconds: int, found: Path, minimize: Path | None) -> None:
    import atheris

    with atheris.instrument_imports(include=["llmkit", "yaml", "csv", "json", "tarfile", "zipfile", "gzip"]):
        from tests.fuzzing.seeds import seeds
        from tests.fuzzing.targets import call
    inputs = found / name / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (inputs / f"seed-{number}").write_bytes(seed)
    limits = [
        f"-rss_limit_mb={MOST_MEMORY}",
        f"-timeout={MOST_SECONDS}",
        "-max_len=4096",
        "-print_final_stats=1",
    ]
    limits += [f"-artifact_prefix={found / name}/", f"-max_total_time={seconds}"]
    wanted = ["-minimize_crash=1", str(minimize)] if minimize else [str(inputs)]
    atheris.Setup([sys.argv[0], *limits, *wanted], lambda data: call(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
