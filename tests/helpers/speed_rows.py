"""Rows of the table that `make bench` prints: our figure, the reference's of the same run, their ratio, the target."""

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("vesalius", "torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy", "onnxruntime")
#: Of the environment: what torch and oneDNN do on a processor that has AVX2 and nothing newer.
WITHOUT_BF16 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
#: Of the environment: a process imports the modules of this folder.
WITH_HELPERS = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
COLUMNS = ("what", "Vesalius", "reference", "ratio", "target", "met", "limit")


@dataclass
class Row:
    """What one comparison found.

    Attributes:
        what: is measured, with its sizes.
        unit: of the samples; per-second units (`images/s`) are better the higher they are, all others the lower.
        ours: samples, in the order of the rounds.
        reference: those of the reference in the same rounds; empty where there is only an absolute target.
        against: what the reference is.
        at_most: of the ratio ours / reference (of our median where there is no reference).
        at_least: how many times as good as the reference.
        by_interval: the whole interval of the ratio must meet the target, not only its median.
        limit: the best that could be reached, and why, in words.
        note: shown below the table; where a target is missed, where the time goes.
    """

    what: str
    unit: str
    ours: list[float]
    reference: list[float] = field(default_factory=list)
    against: str = ""
    at_most: float | None = None
    at_least: float | None = None
    by_interval: bool = False
    limit: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.reference and len(self.reference) != len(self.ours):
            raise ValueError(f"{self.what}: {len(self.ours)} rounds of ours and {len(self.reference)} of the reference")
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"{self.what}: give at_most or at_least")

    @property
    def ratios(self) -> list[float]:
        """Per round: ours / reference for `at_most`, how many times as good for `at_least`."""
        pairs = zip(self.ours, self.reference, strict=True) if self.reference else ()
        upside_down = self.at_least is not None and not self.unit.endswith("/s")
        return [theirs / ours if upside_down else ours / theirs for ours, theirs in pairs]

    @property
    def measured(self) -> list[float]:
        """What the target is about: the ratios, or our samples where there is no reference."""
        return self.ratios or self.ours

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        low, high = interval(self.measured) if self.by_interval else (statistics.median(self.measured),) * 2
        return bool(high <= self.at_most if self.at_most is not None else low >= self.at_least)

    @property
    def target(self) -> str:
        """The target as text."""
        sign, bound = ("≤", self.at_most) if self.at_most is not None else ("≥", self.at_least)
        unit = "×" if self.reference else self.unit
        return f"{sign} {bound:g} {unit}{' (interval)' if self.by_interval else ''}"

    def cells(self) -> tuple[str, ...]:
        """The row as the table shows it."""
        reference, ratio = "–", "–"
        if self.reference:
            reference = f"{spread(self.reference, self.unit)} ({self.against})"
            low, high = interval(self.ratios)
            ratio = f"{statistics.median(self.ratios):.3g} [{low:.3g}, {high:.3g}], n = {len(self.ratios)}"
        met = "yes" if self.met else "**no**"
        return self.what, spread(self.ours, self.unit), reference, ratio, self.target, met, self.limit or "–"


def interval(samples: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the median from order statistics; of fewer than 6 samples the range."""
    ordered, count = sorted(samples), len(samples)
    cut, tail = 0, 0.0
    while cut < count // 2:
        tail += math.comb(count, cut) / 2**count
        if tail > 0.025:
            break
        cut += 1
    cut = max(cut, 1)
    return ordered[cut - 1], ordered[count - cut]


def spread(samples: Sequence[float], unit: str) -> str:
    """The median and, of several, the quartiles."""
    middle = f"{_short(statistics.median(samples))} {unit}"
    if len(samples) < 2:
        return middle
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return f"{middle} ({_short(low)} to {_short(high)})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """Hardware, versions and date; no name of host or user."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    info = Path("/proc/cpuinfo")
    models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return {
        "date": time.strftime("%F"),
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "bf16": bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "torch_threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def to_json(rows: Iterable[Row], about: dict[str, Any], unfinished: Sequence[str]) -> str:
    """All of a run of the suite as JSON, samples included, one row per line."""
    found = [
        {**asdict(row), "median": statistics.median(row.ours), "ratios": row.ratios, "met": row.met} for row in rows
    ]
    lines = ",\n".join(json.dumps(_rounded(row), ensure_ascii=False) for row in found)
    head = json.dumps(_rounded({"schema": 1, "machine": about, "unfinished": list(unfinished)}), ensure_ascii=False)
    return f'{head[:-1]}, "rows": [\n{lines}\n]}}\n'


def _rounded(value: Any) -> Any:
    """Floats with the five digits that a measurement may have."""
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def to_markdown(rows: Sequence[Row], about: dict[str, Any], unfinished: Sequence[str]) -> str:
    """The table, what it was measured on, and the notes."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    units = "with" if about["bf16"] else "without"
    lines = [
        f"{about['date']}; {about['cpu']}, {about['cores']} cores {units} bf16 units ({about['instructions']}), "
        f"{about['memory_gb']} GB, {about['system']}; load {about['load']['begin']:.1f} at the begin and "
        f"{about['load']['end']:.1f} at the end; {about['minutes']:.0f} min; {versions}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *(f"| {' | '.join(row.cells())} |" for row in rows),
        "",
        *(f"* {row.what}: {row.note}" for row in rows if row.note),
        *(f"* not measured: {name}" for name in unfinished),
    ]
    return "\n".join(lines).rstrip() + "\n"
