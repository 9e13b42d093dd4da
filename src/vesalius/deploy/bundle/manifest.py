"""`manifest.json` of a bundle: what the model is, what it takes and gives, and the hash of every file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.formats.acquisition import AcquisitionRange, Plane
from vesalius.data.formats.images import Fit
from vesalius.data.formats.window import to_window, window_problems
from vesalius.data.sources.tables.file_reader import ReadOptions
from vesalius.data.sources.vocabulary import Unit
from vesalius.deploy.contract import InputContract

SCHEMA = 1
Kind = Literal["classifier", "regressor", "autoencoder", "anomaly_detector", "encoder", "generator", "decoder"]
#: Names of sizes that a call chooses.
BATCH, FRAMES = "batch", "frames"
_Type = Literal["bool", "uint8", "uint16", "int32", "int64", "float16", "float32", "float64"]


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of the graph.

    Attributes:
        name: in the graph.
        dtype: numpy's name of its type.
        shape: its sizes; a name (`batch`, `frames`) for one that each call chooses.
        meaning: what it holds, with unit and range.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    meaning: str

    def to_dict(self) -> dict[str, Any]:
        """Plain containers."""
        return {**asdict(self), "shape": list(self.shape)}


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    Attributes:
        kind: what the model does.
        name: of the run that it comes from.
        facts: of the data that it was trained on.
        contract: what input files must be; None for models that take no images.
        inputs: of the graph.
        outputs: of the graph.
        decision: how probabilities become a class; empty for models without classes.
        parity: how the graph was compared with the trained model, and the largest difference.
        provenance: of the run: code, packages, data fingerprint, seed; and the export's own versions.
        hashes: SHA-256 of every other file of the bundle, by its path with forward slashes.
    """

    kind: Kind
    name: str
    facts: Facts
    contract: InputContract | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    decision: Mapping[str, Any]
    parity: Mapping[str, Any]
    provenance: Mapping[str, Any]
    hashes: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "name": self.name,
            "facts": self.facts.to_dict(),
            "contract": None if self.contract is None else self.contract.to_dict(),
            "inputs": [spec.to_dict() for spec in self.inputs],
            "outputs": [spec.to_dict() for spec in self.outputs],
            "decision": dict(self.decision),
            "parity": dict(self.parity),
            "provenance": dict(self.provenance),
            "hashes": dict(self.hashes),
        }

    @classmethod
    def from_dict(cls, plain: Any, name: str) -> "Manifest":
        """Inverse of `to_dict`, for content that may be a stranger's.

        Args:
            plain: as JSON gives it.
            name: what messages call the bundle.

        Raises:
            InputError: for a newer schema, with the cure, and for anything that is not a manifest.
        """
        schema = plain.get("schema") if isinstance(plain, Mapping) else None
        if isinstance(schema, int) and schema > SCHEMA:
            raise InputError(
                f"{name} has schema {schema}, and this version of Vesalius reads {SCHEMA}: upgrade it with "
                "pip install --upgrade vesalius."
            )
        try:
            if schema != SCHEMA:
                raise ValueError("it has no schema")
            return _manifest(cast(Mapping[str, Any], plain))
        except (KeyError, TypeError, ValueError) as error:
            why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{name} has a damaged manifest ({why[:200]}): take the bundle from its source.") from None


def _manifest(plain: Mapping[str, Any]) -> Manifest:
    facts = Facts.from_dict(_mapping(plain, "facts"))
    return Manifest(
        kind=_choice(plain["kind"], Kind, "kind"),
        name=str(plain["name"])[:200],
        facts=facts,
        contract=None if plain["contract"] is None else _contract(_mapping(plain, "contract"), facts),
        inputs=tuple(_spec(spec) for spec in _list(plain, "inputs")),
        outputs=tuple(_spec(spec) for spec in _list(plain, "outputs")),
        decision=_mapping(plain, "decision"),
        parity=_mapping(plain, "parity"),
        provenance=_mapping(plain, "provenance"),
        hashes={str(file): str(digest) for file, digest in _mapping(plain, "hashes").items()},
    )


def _contract(plain: Mapping[str, Any], facts: Facts) -> InputContract:
    read, bits, seconds = _mapping(plain, "read"), plain["bits"], plain["frame_seconds"]
    if window_problems(read["window"]):
        raise ValueError("contract.read.window is not a window")
    if bits not in (None, 8, 16) or (seconds is not None and not (_is_number(seconds) and seconds > 0)):
        raise ValueError("contract.bits or contract.frame_seconds is no such number")
    flags = {key: plain[key] for key in ("one_window", "converts_channels", "resizes", "series", "timed")}
    flags["mask_text"] = plain.get("mask_text", False)  # older bundles have none
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise ValueError(f"{', '.join(flags)} of the contract are not all true or false")
    return InputContract(
        read=ReadOptions(
            _choice(read["unit"], Unit, "contract.read.unit"),
            to_window(read["window"]),
            _choice(read["plane"], Plane, "contract.read.plane"),
        ),
        bits=bits,
        channels=facts.channels,
        image_size=facts.image_size,
        fit=_choice(plain["fit"], Fit, "contract.fit"),
        value_max=facts.value_max,
        frame_seconds=seconds,
        acquisition=AcquisitionRange.from_dict(plain.get("acquisition")),
        **flags,
    )


def _spec(plain: Any) -> TensorSpec:
    name, dtype, shape, meaning = (plain[key] for key in ("name", "dtype", "shape", "meaning"))
    _choice(dtype, _Type, f"the type of {name}")
    for size in shape:
        if size not in (BATCH, FRAMES):
            _size(size, 1 << 31, f"a size of {name}")
    return TensorSpec(str(name), str(dtype), tuple(shape), str(meaning))


def _mapping(node: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if not isinstance(node[key], Mapping):
        raise ValueError(f"{key} is not a mapping")
    return cast(Mapping[str, Any], node[key])


def _list(node: Mapping[str, Any], key: str) -> Sequence[Any]:
    if not isinstance(node[key], list):
        raise ValueError(f"{key} is not a list")
    return cast(Sequence[Any], node[key])


def _choice(value: Any, choices: Any, key: str) -> Any:
    if value not in get_args(choices):
        raise ValueError(f"{key} is {str(value)[:40]!r}, and not {', '.join(map(str, get_args(choices)))}")
    return value


def _size(value: Any, most: int, key: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
        raise ValueError(f"{key} is not a whole number from 1 to {most}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
