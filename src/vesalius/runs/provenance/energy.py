"""Energy counters of Linux (RAPL, for processors) and of NVIDIA's driver (NVML, for GPUs).

What is absent is not estimated. Most systems let only root read the counters of processors, since CVE-2020-8694.
"""

import ctypes
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

_RAPL = Path("/sys/class/powercap")
_NVML = "libnvidia-ml.so.1"

Counter = Callable[[], float | None]  # joules so far, or None where it cannot be read


class EnergyMeter:
    """Joules since it was created, as `cpu` and `gpu`, each only where every counter of that kind can be read.

    Args:
        rapl: the folder of Linux's power capping.
        gpus: UUIDs of the GPUs, as NVML writes them.
    """

    def __init__(self, rapl: Path = _RAPL, gpus: list[str] | None = None) -> None:
        self._counters: dict[str, list[Counter]] = {"cpu": _processors(rapl), "gpu": _graphics(gpus or [])}
        self._lock = threading.Lock()

    def __call__(self) -> Mapping[str, float]:
        """The joules; read at least every few minutes, or a counter that begins again at 0 is missed."""
        with self._lock:
            read = {kind: [counter() for counter in counters] for kind, counters in self._counters.items() if counters}
        return {
            kind: sum(value for value in values if value is not None)
            for kind, values in read.items()
            if None not in values
        }


def visible_gpus() -> list[str]:
    """UUIDs of the GPUs that this process may use; none where there is no CUDA."""
    import torch

    try:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return [f"GPU-{torch.cuda.get_device_properties(at).uuid}" for at in range(count)]
    except RuntimeError:  # of a driver that does not work, which is no reason not to train
        return []


def _processors(rapl: Path) -> list[Counter]:
    """Whole processors: parts of them, such as cores, are counted in these."""
    found: list[Counter] = []
    for folder in sorted(rapl.glob("intel-rapl:*")):
        try:
            if folder.name.count(":") == 1 and (folder / "name").read_text().startswith("package"):
                found.append(_Rapl(folder))
        except (OSError, ValueError):
            return []  # the rest would be less than the whole
    return found


class _Rapl:
    """A counter in microjoules that begins again at 0."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text())
        self._last, self._used = int(self._file.read_text()), 0

    def __call__(self) -> float | None:
        try:
            now = int(self._file.read_text())
        except (OSError, ValueError):
            return None
        self._used += now - self._last + (self._range if now < self._last else 0)
        self._last = now
        return self._used / 1e6


def _graphics(gpus: list[str]) -> list[Counter]:
    if not gpus or sys.platform != "linux":
        return []
    try:
        nvml = ctypes.CDLL(_NVML)
        if nvml.nvmlInit_v2():
            return []
        return [_Nvml(nvml, uuid) for uuid in gpus]
    except (OSError, AttributeError, ValueError):
        return []


class _Nvml:
    """A GPU's counter, in millijoules since its driver was loaded; GPUs since Volta have one."""

    def __init__(self, nvml: ctypes.CDLL, uuid: str) -> None:
        self._nvml, self._handle = nvml, ctypes.c_void_p()
        if nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(self._handle)):
            raise ValueError(uuid)
        self._first = self._read()

    def _read(self) -> int | None:
        value = ctypes.c_ulonglong()
        failed = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle, ctypes.byref(value))
        return None if failed else value.value

    def __call__(self) -> float | None:
        now = self._read()
        return None if now is None or self._first is None else (now - self._first) / 1000
