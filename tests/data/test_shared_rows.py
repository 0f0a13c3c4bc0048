"""The windows of several processes: none waits for what the first will only do later."""

from __future__ import annotations

from llmkit.data.row_run import Window
from llmkit.data.shared_rows import SharedRows, packed
from llmkit.launching import exchange


class OneAfterTheOther:
    """An exchange in which another process sends a parcel only when it may: else the two would wait for each other."""

    rank, count = 0, 2

    def __init__(self) -> None:
        self.received = 0

    def received_before(self, number: int) -> None:
        self.received = max(self.received, number)

    def receive(self, number: int) -> bytes:
        assert number - exchange._AHEAD * self.count < self.received, "both wait"
        return packed({"rows": [{"value": number}], "counts": {}})


def test_a_run_that_is_gone_on_with_far_in_receives_the_others_windows_first() -> None:
    shared = SharedRows(OneAfterTheOther())
    for number in range(41, 60):  # the windows before were done by an earlier run
        shared.is_mine(Window(number, number, [number]))

    found = [outcomes[0].value for _, outcomes in shared.others_before(None)]

    assert found == [number for number in range(41, 60) if number % 2]
