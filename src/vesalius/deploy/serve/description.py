"""What a model is, in JSON: for clients, and for the page."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vesalius.deploy.predictor import Predictor

#: Parts of metrics.json that describe the model to whoever uses it.
_METRICS = ("decision", "calibration", "operating_point", "conformal", "abstain", "abstention", "subgroups", "test")


def describe(predictor: Predictor, name: str, *, has_card: bool) -> dict[str, Any]:
    """The body of `/model`.

    Args:
        predictor: of the model.
        name: of the model.
        has_card: whether `/card` has a model card.
    """
    facts, metrics = predictor.facts, predictor.metrics
    return {
        "name": name,
        "task": facts.task,
        "classes": list(facts.classes),
        "columns": predictor.columns,
        "input": _input(predictor),
        "sha256": predictor.backend.sha256,
        "card": "/card" if has_card else None,
        "train_size": facts.train_size,
        **{part: metrics[part] for part in _METRICS if part in metrics},
    }


def _input(predictor: Predictor) -> Mapping[str, Any]:
    contract = asdict(predictor.contract)
    kind = {255.0: "uint8", 65535.0: "uint16"}.get(predictor.contract.value_max, "float32")
    return {**contract, "read": {key: value for key, value in contract["read"].items()}, "type": kind}
