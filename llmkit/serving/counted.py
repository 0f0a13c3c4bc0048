"""What a server counts of itself, as Prometheus reads it (text exposition format 0.0.4)."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Counted:
    """Requests by path and status, their seconds, and what waits.

    Args:
        waiting: gives how many requests wait.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._waiting = waiting
        self._lock = threading.Lock()
        self._requests: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._seconds: defaultdict[str, list[float]] = defaultdict(lambda: [0.0] * (len(_BOUNDS) + 2))

    def add(self, path: str, status: int, seconds: float) -> None:
        """Count one request."""
        with self._lock:
            self._requests[path, status] += 1
            buckets = self._seconds[path]
            for number, bound in enumerate(_BOUNDS):
                buckets[number] += seconds <= bound
            buckets[-2] += seconds
            buckets[-1] += 1

    def text(self) -> str:
        """Return all of it."""
        with self._lock:
            requests, seconds = (
                dict(self._requests),
                {path: list(each) for path, each in self._seconds.items()},
            )
        lines = [
            "# HELP llmkit_requests_total Requests answered.",
            "# TYPE llmkit_requests_total counter",
            *(
                f'llmkit_requests_total{{path="{path}",status="{status}"}} {count}'
                for (path, status), count in sorted(requests.items())
            ),
            "# HELP llmkit_request_seconds Seconds from a request to its answer.",
            "# TYPE llmkit_request_seconds histogram",
        ]
        for path, buckets in sorted(seconds.items()):
            for bound, count in zip(_BOUNDS, buckets, strict=False):
                lines.append(f'llmkit_request_seconds_bucket{{path="{path}",le="{bound:g}"}} {count:.0f}')
            lines.append(f'llmkit_request_seconds_bucket{{path="{path}",le="+Inf"}} {buckets[-1]:.0f}')
            lines.append(f'llmkit_request_seconds_sum{{path="{path}"}} {buckets[-2]:.6f}')
            lines.append(f'llmkit_request_seconds_count{{path="{path}"}} {buckets[-1]:.0f}')
        lines += [
            "# HELP llmkit_waiting_requests Requests that wait for a model.",
            "# TYPE llmkit_waiting_requests gauge",
            f"llmkit_waiting_requests {self._waiting()}",
        ]
        return "\n".join(lines) + "\n"
