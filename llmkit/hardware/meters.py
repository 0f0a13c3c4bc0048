"""Energy as it is measured: by the GPU's own counter (NVML) or by the CPU's (RAPL), where they can be read."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

RAPL_FOLDER = Path("/sys/class/powercap")


class Meter(Protocol):
    """A counter of energy that only rises."""

    name: str

    def joules(self) -> float:
        """Return what was drawn since the meter was opened.

        Raises:
            OSError: it can no longer be read.
        """


class NvmlMeter:
    """The counter of one NVIDIA GPU (``nvmlDeviceGetTotalEnergyConsumption``, in millijoules; Volta and later).

    Raises:
        OSError: the library is not there, or the GPU has no such counter.
    """

    name = "NVML, the GPU's own counter"

    def __init__(self, uuid: str) -> None:
        self._library = ctypes.CDLL("libnvidia-ml.so.1")
        self._handle = ctypes.c_void_p()
        self._call("nvmlInit_v2")
        text = ctypes.c_char_p((uuid if uuid.startswith("GPU-") else f"GPU-{uuid}").encode())
        self._call("nvmlDeviceGetHandleByUUID", text, ctypes.byref(self._handle))
        self._begin = self._total()

    def joules(self) -> float:
        return self._total() - self._begin

    def _total(self) -> float:
        millijoules = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", self._handle, ctypes.byref(millijoules))
        return millijoules.value / 1000

    def _call(self, name: str, *arguments: object) -> None:
        function = getattr(self._library, name, None)
        if function is None or (code := function(*arguments)) != 0:
            raise OSError(f"{name}: {'not there' if function is None else code}")


class RaplMeter:
    """The counters of the CPU packages (Linux powercap: Intel and AMD), which begin anew when they are full.

    Raises:
        OSError: there are none, or only root may read them.
    """

    name = "RAPL, the CPU's own counter, with all that runs on it"

    def __init__(self, folder: Path = RAPL_FOLDER) -> None:
        # intel-rapl:0 is a package; intel-rapl:0:0, a part of it, would be counted twice.
        packages = [each for each in sorted(folder.glob("intel-rapl:*")) if each.name.count(":") == 1]
        self._counters = [_Counter(each) for each in packages]
        if not self._counters:
            raise OSError(f"{folder} has no counters")

    def joules(self) -> float:
        return sum(each.read() for each in self._counters) / 1e6


@dataclass
class _Counter:
    folder: Path

    def __post_init__(self) -> None:
        self.full = self._number("max_energy_range_uj")
        self.last, self.sum = self._number("energy_uj"), 0

    def read(self) -> int:
        now = self._number("energy_uj")
        self.sum += now - self.last if now >= self.last else now + self.full - self.last
        self.last = now
        return self.sum

    def _number(self, name: str) -> int:
        return int((self.folder / name).read_text(encoding="ascii"))


@dataclass
class EnergyMeter:
    """What the device of one process draws, lap by lap.

    Attributes:
        meter: None where nothing can be read.
    """

    meter: Meter | None = None
    _before: float = 0.0

    @property
    def name(self) -> str:
        """What measures; "" for nothing."""
        return "" if self.meter is None else self.meter.name

    def lap(self) -> float | None:
        """Return the joules since the last lap, or since the meter was opened; None where nothing measures them."""
        if self.meter is None:
            return None
        try:
            now = self.meter.joules()
        except (OSError, ValueError):
            self.meter = None
            return None
        drawn, self._before = now - self._before, now
        return drawn


def open_meter(device: torch.device) -> EnergyMeter:
    """Open the counter of a device; one that reads nothing where there is none, or it may not be read."""
    with suppress(OSError, ValueError):
        if device.type == "cuda":
            import torch

            uuid = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
            return EnergyMeter(NvmlMeter(uuid) if uuid else None)
        if device.type == "cpu":
            return EnergyMeter(RaplMeter())
    return EnergyMeter()
