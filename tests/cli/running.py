"""A call that is watched while it runs: on a terminal, or as a process with pipes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import pexpect

from tests.fixtures.command import base_environment

COMMAND = [sys.executable, "-m", "llmkit"]
TIMEOUT = 60
ESCAPE = "\x1b"
COLOR = re.compile(r"\x1b\[[\d;]*m")


def rest(child):
    """Everything the terminal shows until the command ends."""
    child.expect(pexpect.EOF)
    child.close()
    return child.before.replace("\r\n", "\n")


def text_of(screen):
    return COLOR.sub("", screen)


def start(*arguments, **options):
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=base_environment(),
        text=True,
        # What a shell without job control passes on to a command in the background is not what a user has.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )


def wait_for(file, is_alive):
    while not file.exists():
        assert is_alive()
        time.sleep(0.01)
