"""The closed root of every config: which keys may stand at the top level, one dataclass per verb.

Groups are open dictionaries here: the signature of its `_target_` decides what may stand inside one
(`vesalius.config.targets`). A key that is not listed below is refused wherever it comes from.
"""

import functools
from dataclasses import dataclass, field, fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class Monitor:
    """The validation metric that picks the best checkpoint and is a sweep's objective."""

    name: str = MISSING
    mode: str = MISSING


@dataclass
class Reevaluation:
    """What `vesalius evaluate` computes next to the metrics of a finished run."""

    baselines: bool = False
    drop_duplicates: bool = False
    prevalence: float | None = None
    extractor: str | None = None


@dataclass
class Conformal:
    """Prediction sets."""

    coverage: float = MISSING
    by_class: bool = MISSING


@dataclass
class Evaluation(Reevaluation):
    """How the final numbers of a training run are computed."""

    decision: str = MISSING
    evidence: bool = MISSING
    probes: bool = MISSING
    extractor: str | None = None
    evidence_classes: list[str] | None = None
    conformal: Conformal = field(default_factory=Conformal)
    abstain: float | None = None


@dataclass
class Audit:
    """Checks of the data that must find nothing."""

    fail_on: list[str] = field(default_factory=list)


@dataclass
class TrainConfig:
    """`vesalius train`."""

    name: str | None = None
    seed: int | None = None
    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
    monitor: Monitor = field(default_factory=Monitor)
    evaluation: Evaluation = field(default_factory=Evaluation)
    audit: Audit = field(default_factory=Audit)
    init_from: str | None = None
    resume: str | None = None
    resume_despite: list[str] = field(default_factory=list)


@dataclass
class EvaluateConfig:
    """`vesalius evaluate`."""

    run: str = MISSING
    seed: int = 0
    data: dict[str, Any] | None = None
    evaluation: Reevaluation = field(default_factory=Reevaluation)


@dataclass
class EnsembleConfig:
    """`vesalius ensemble`."""

    runs: Any = MISSING  # a folder or a list of them
    decision: str | None = None
    seed: int = 0
    out: str = MISSING


@dataclass
class PredictConfig:
    """`vesalius predict`; exactly one of `run` and `bundle` is given."""

    run: str | None = None
    bundle: str | None = None
    input: str = MISSING
    column: str | None = None
    autoencoder: str | None = None
    output: str | None = None
    reports: str | None = None
    explain: str | None = None
    explain_target: str | None = None
    explain_arrays: bool = False
    on_bad_file: str = MISSING
    batch_size: int = MISSING


@dataclass
class ExportConfig:
    """`vesalius export`."""

    run: str = MISSING
    output: str | None = None
    part: str = MISSING
    golden: str | None = None
    intended_use: str | None = None


@dataclass
class ServeLimits:
    """The most that a request to `vesalius serve` may cost."""

    megabytes: float = MISSING
    files: int = MISSING
    pixels: int = MISSING
    frames: int = MISSING
    seconds: float = MISSING
    requests: int = MISSING


@dataclass
class ServePacs:
    """The DICOM node of a server."""

    reply: str | None = None
    title: str = MISSING
    host: str = MISSING
    callers: list[str] | None = None
    explain: str | None = None


@dataclass
class ServeConfig:
    """`vesalius serve`; exactly one of `bundle` and `run` is given."""

    bundle: str | None = None
    run: str | None = None
    host: str = MISSING
    port: int = MISSING
    token: str | None = None
    limits: ServeLimits = field(default_factory=ServeLimits)
    dicom: int | None = None
    pacs: ServePacs = field(default_factory=ServePacs)


@dataclass
class VerifyConfig:
    """`vesalius verify`; exactly one of `run` and `bundle` is given."""

    run: str | None = None
    bundle: str | None = None


@dataclass
class RerunConfig:
    """`vesalius rerun`."""

    run: str = MISSING


@dataclass
class EmbedConfig:
    """`vesalius embed`."""

    run: str = MISSING
    seed: int = 0
    data: dict[str, Any] | None = None


@dataclass
class SynthesizeConfig:
    """`vesalius synthesize`."""

    run: str = MISSING
    n: int = MISSING
    label: str | None = None
    seed: int = 0


@dataclass
class GainConfig:
    """`vesalius gain`."""

    name: str = "gain"
    seed: int = 0
    root: str | None = None
    both: list[str] = field(default_factory=list)
    gan: list[str] = field(default_factory=list)
    cnn: list[str] = field(default_factory=list)
    arms: dict[str, Any] = field(default_factory=dict)  # of lists, or null for an arm that is taken out
    seeds: list[int] = field(default_factory=list)
    n: int = 0
    metric: str = MISSING
    resume: str | None = None
    resume_despite: list[str] = field(default_factory=list)


@dataclass
class AuditConfig:
    """`vesalius audit`."""

    seed: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    audit: Audit = field(default_factory=Audit)


@dataclass
class IdentitiesConfig:
    """`vesalius identities`."""

    action: str = "list"
    pseudonyms: list[str] = field(default_factory=list)
    output: str | None = None


@dataclass
class CompareConfig:
    """`vesalius compare`."""

    runs: Any = MISSING  # a folder or a list of them
    by: str | None = None
    metric: str = MISSING
    baselines: list[str] = field(default_factory=list)
    reference: str | None = None
    seed: int = 0
    out: str = MISSING


@dataclass
class ReportConfig:
    """`vesalius report`."""

    run: str = MISSING
    images: bool = True
    explain: str | None = None
    seed: int = 0


SCHEMAS: dict[str, type] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "ensemble": EnsembleConfig,
    "predict": PredictConfig,
    "export": ExportConfig,
    "serve": ServeConfig,
    "embed": EmbedConfig,
    "synthesize": SynthesizeConfig,
    "gain": GainConfig,
    "audit": AuditConfig,
    "compare": CompareConfig,
    "report": ReportConfig,
    "verify": VerifyConfig,
    "rerun": RerunConfig,
    "identities": IdentitiesConfig,
}


def root_keys(verb: str) -> set[str]:
    """What may stand at the top level of a verb's config."""
    return {entry.name for entry in fields(SCHEMAS[verb])}


@functools.cache
def register_schemas() -> None:
    """Make the schemas known to Hydra as `<verb>_schema`; the first entry of each primary defaults list."""
    store = ConfigStore.instance()
    for verb, schema in SCHEMAS.items():
        store.store(name=f"{verb}_schema", node=schema)
    # Hydra copies its sources for each group that `--help` lists, and with them the store, from which it only takes
    # copies: without this line two thirds of the time.
    vars(store)["__deepcopy__"] = lambda memo: store
