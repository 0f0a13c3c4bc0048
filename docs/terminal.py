"""Makes docs/terminal.svg, the picture at the top of README.md: commands on a terminal, and what they really printed.

    python docs/terminal.py

The commands run in a folder of their own with the embedded model, without a network. The picture names no font and no
file from elsewhere; a terminal is dark, so it is the same on a light page and on a dark one.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "terminal.svg"
SIZE = (40, 94)  # lines, columns
COMMANDS = (
    'llmkit pipeline sentiment-analysis -m minilm:sentiment "What a wonderful evening."',
    'llmkit search "money in the bank" --in notes.txt -m minilm -k 2 -q',
    "llmkit params bert-base --total",
    "llmkit pipeline sentiment-analysis -m minilm:sentiment -i configs/data/reviews.test.csv -q |\n"
    "    jq -r .label | sort | uniq -c",
)
NOTES = "He opened a savings account.\nThe river was full of fish.\nThe loan was approved.\n"
FORMAT = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>llmkit on a terminal</title>
<style>
.{unique_id}-matrix {{
  font: {char_height}px/{line_height}px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}}
.{unique_id}-title {{ display: none; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def printed(command: str, folder: Path) -> str:
    """Return what a command prints on a terminal of SIZE, colours included."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, SIZE)
    environment = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")
    } | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "HF_HUB_OFFLINE": "1",
        "LLMKIT_CACHE": str(folder / "cache"),
    }
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    found = b""
    while True:
        try:
            found += os.read(master, 65_536)
        except OSError:  # the last one who had the terminal has left it
            break
    os.close(master)
    if process.wait():
        raise SystemExit(f"{command}: exit code {process.returncode}\n{found.decode()}")
    text = found.decode().replace("\r\n", "\n")
    if moved := re.search(r"\x1b\[[\d;?]*[A-HJKSTfhlsu]|\r", text):
        raise SystemExit(f"{command}: it moves the cursor ({moved[0]!r}), which a picture cannot show")
    return text


def main() -> None:
    """Run the commands and draw."""
    console = Console(record=True, width=SIZE[1], file=Path(os.devnull).open("w"), force_terminal=True)  # noqa: SIM115
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "notes.txt").write_text(NOTES, encoding="utf-8")
        shutil.copytree(ROOT / "configs", folder / "configs")
        for number, command in enumerate(COMMANDS):
            if number:
                console.print()
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            console.print(Text.from_ansi(re.sub(r"^(?: *\n)+|\s+$", "", printed(command, folder))))
    PICTURE.write_text(
        console.export_svg(theme=MONOKAI, code_format=FORMAT, unique_id="llmkit"), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
