"""The model card of a bundle (Mitchell et al. 2019, Model Cards for Model Reporting), as Markdown and as HTML."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vesalius.data.formats.acquisition import SPACING_FACTOR, AcquisitionRange
from vesalius.deploy.bundle.backend import kind_in_words
from vesalius.deploy.bundle.card.limits import limits_of, untested
from vesalius.deploy.bundle.card.tables import Table, result_tables
from vesalius.deploy.bundle.manifest import Manifest, TensorSpec
from vesalius.deploy.bundle.reading import CARD_HTML, CARD_MARKDOWN, MODEL
from vesalius.deploy.contract import InputContract
from vesalius.runs.run_folder import write_atomically

NO_DEVICE = "This is research software and no medical device: it must not be used for decisions on patients."
_UNSTATED = "Its authors have stated none. Give it to vesalius export as intended_use=TEXT."


@dataclass(frozen=True)
class Section:
    """A part of the card.

    Attributes:
        title: its heading.
        paragraphs: of text, before the tables.
        points: of a list, after the paragraphs.
        tables: by their heading, which may be empty.
    """

    title: str
    paragraphs: Sequence[str] = ()
    points: Sequence[str] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)


def write_card(
    folder: Path,
    manifest: Manifest,
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    intended_use: str | None,
) -> None:
    """Write `model_card.md` and `model_card.html`.

    Args:
        folder: of the bundle.
        manifest: of the bundle, with its parity.
        metrics: the content of the run's `metrics.json`.
        config: the run's, without paths.
        intended_use: what the model is for; None: not stated.
    """
    sections = card_of(manifest, metrics, config, intended_use)
    for name, template in ((CARD_MARKDOWN, "card.md.j2"), (CARD_HTML, "card.html.j2")):
        text = (
            _environment()
            .get_template(template)
            .render(name=manifest.name, kind=kind_in_words(manifest.kind), warning=NO_DEVICE, sections=sections)
        )
        write_atomically(folder / name, text)


def card_of(
    manifest: Manifest, metrics: Mapping[str, Any], config: Mapping[str, Any], intended_use: str | None
) -> list[Section]:
    """The sections of the card; arguments as of `write_card`."""
    sections = [
        Section("Intended use", [intended_use or _UNSTATED]),
        Section("Limits", points=limits_of(manifest, metrics)),
        _model(manifest),
        _input(manifest.contract),
        _decision(manifest, metrics),
        _data(manifest, metrics, config),
        Section(
            "Results",
            [
                "Every number with its 95 % interval over patients and the value without skill. A dash: it could not "
                "be computed, or has no interval; the reason is in metrics.json."
            ],
            tables=dict(result_tables(metrics)),
        ),
        Section("Not tested", points=untested(manifest, metrics)),
        _origin(manifest),
    ]
    return [section for section in sections if section.paragraphs or section.points or section.tables]


def _model(manifest: Manifest) -> Section:
    parity, origin = manifest.parity, manifest.provenance
    lengths = f", and series of {format_list(parity['frames'])} frames" if parity["frames"] else ""
    compared = (
        f"The graph was compared with the trained model (32 bits) on {parity['inputs']} random inputs in batches of "
        f"{format_list(parity['batches'])}{lengths}, and on the golden inputs from the raw file on: the largest "
        f"difference is {max(parity['largest'], parity['golden']):.1e}, where {parity['tolerance']:g} is allowed, "
        "and every decision is equal."
    )
    rows = [["kind", manifest.kind], ["trained as", str(origin["model"])], ["net", str(origin["net"])]]
    rows.append([f"SHA-256 of {MODEL}", manifest.hashes[MODEL]])
    return Section(
        "Model",
        [compared],
        tables={
            "": Table(["", ""], rows),
            "Inputs of the graph": _tensors(manifest.inputs),
            "Outputs of the graph": _tensors(manifest.outputs),
        },
    )


def _tensors(specs: Sequence[TensorSpec]) -> Table:
    rows = [[spec.name, spec.dtype, " × ".join(map(str, spec.shape)), spec.meaning] for spec in specs]
    return Table(["name", "type", "shape", "holds"], rows)


def _input(contract: InputContract | None) -> Section:
    if contract is None:
        return Section("")
    height, width = contract.image_size
    window = contract.read.window
    sizes = f"{height} × {width} pixels" + (f"; others are resized ({contract.fit})" if contract.resizes else "")
    channels = {1: "1 (grey)", 3: "3 (RGB)"}.get(contract.channels, str(contract.channels))
    rows = [
        ["input", contract.read.unit.replace("_", " ") if contract.series else "single image"],
        ["size", sizes if contract.resizes else f"{sizes}; others are refused"],
        ["channels", channels + (", converted where they differ" if contract.converts_channels else "")],
        ["values", f"{contract.dtype}, 0..{contract.value_max:g}" if contract.value_max > 1 else "float32"],
        ["window (DICOM, NIfTI)", window if isinstance(window, str) else f"centre {window[0]:g}, width {window[1]:g}"],
        ["photometric interpretation", "MONOCHROME1 is inverted on reading, YBR and palettes become RGB"],
        ["orientation (NIfTI)", f"{contract.read.plane} slices, upright"],
        *_acquisition(contract.acquisition),
    ]
    if contract.series:
        rows.append(["times", _times(contract)])
    text = "Files are decoded as the run's own images were. What does not fit is refused by name, never guessed at."
    return Section("Input", [text], tables={"": Table(["", ""], rows)})


def _acquisition(known: AcquisitionRange) -> list[list[str]]:
    """How the training images were acquired: others are refused, where their files state it."""
    sides = [] if known.spacing is None else [f"{side:.3g}" for side in known.spacing]
    stated = {
        "modality (DICOM)": " or ".join(known.modalities),
        "photometric interpretation of the training images": ", ".join(known.photometrics),
        "plane": " or ".join(known.planes),
        "spacing": f"{' to '.join(dict.fromkeys(sides))} mm at this size; refused beyond a factor of {SPACING_FACTOR:g}"
        if sides
        else "",
    }
    unknown = [name for name, value in stated.items() if not value and not name.startswith("photometric")]
    rows = [[name, value] for name, value in stated.items() if value]
    return rows + [["not known of the training images", ", ".join(unknown)]] * bool(unknown)


def _times(contract: InputContract) -> str:
    if not contract.timed:
        return "not used"
    return "from the file" if contract.frame_seconds is None else f"{contract.frame_seconds:g} s between frames"


def _decision(manifest: Manifest, metrics: Mapping[str, Any]) -> Section:
    if manifest.kind != "classifier":
        return Section("")
    threshold, rule = manifest.decision.get("threshold"), manifest.decision.get("rule")
    number = isinstance(threshold, int | float)
    text = (
        f"A class is predicted where its uncalibrated probability is above {threshold:.6g} (rule {rule}, chosen on "
        "validation)."
        if number
        else "The most probable class is predicted."
    )
    calibration = metrics.get("calibration") or {}
    how = f"Probabilities are calibrated on validation ({calibration['method']})." if "method" in calibration else ""
    return Section("Decision", [text, *[how] * bool(how)])


def _data(manifest: Manifest, metrics: Mapping[str, Any], config: Mapping[str, Any]) -> Section:
    facts, source = manifest.facts, config["data"]["source"]
    counts = list(zip(facts.classes, facts.class_counts, strict=False))
    rows = [["source", str(source.get("_target_"))], ["training samples", str(facts.train_size)]]
    rows += [
        [split, f"{entry['n']} samples of {entry['groups']} patients"]
        for split in ("val", "test")
        if (entry := next(iter((metrics.get(split) or {}).values()), None))
    ]
    tables = {"": Table(["", ""], rows)}
    if counts and facts.task not in ("regression", "unlabelled"):
        tables["Training samples by class"] = Table(["class", "samples"], [[name, str(n)] for name, n in counts])
    return Section("Data", ["Training, validation and test share no patient."], tables=tables)


def _origin(manifest: Manifest) -> Section:
    origin = manifest.provenance
    trained = origin["trained"]
    rows = [
        ["commit", str((trained.get("code") or {}).get("commit"))],
        ["data fingerprint", str(trained.get("data"))],
        ["seed", str(trained.get("seed"))],
        ["trained until", str(origin.get("ended"))],
        *([f"checkpoint {name}, SHA-256", digest] for name, digest in origin["checkpoint"].items()),
        ["exported with", ", ".join(f"{name} {version}" for name, version in origin["exported"].items())],
    ]
    return Section("Origin", tables={"": Table(["", ""], rows)})


def format_list(values: Sequence[Any]) -> str:
    """`1, 2 and 5`."""
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last


def cell(text: str) -> str:
    """A text as a cell of a Markdown table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("vesalius.deploy.bundle.card", "."),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = cell
    return environment
