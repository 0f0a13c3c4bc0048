"""A signal that tells a training to stop, kept until its step is done."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

_A_MOMENT = 0.5  # seconds


class StopRequest:
    """SIGINT and SIGTERM while training: the step is finished, the state saved, then the run ends.

    A second signal ends it at once. What comes within a moment of the first is no second: a launcher that is killed
    tells its processes to stop as each of its threads ends.
    """

    def __init__(self) -> None:
        self._since = 0.0
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        before = self._before[signal.Signals(number)]
        now = time.monotonic()
        if self.received is None:
            self._since = now
        elif now > self._since + _A_MOMENT:
            if callable(before):
                before(number, frame)
            elif before is signal.SIG_DFL:
                signal.signal(number, before)
                signal.raise_signal(number)
        self.received = signal.Signals(number)
