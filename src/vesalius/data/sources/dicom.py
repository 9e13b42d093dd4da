"""A folder of DICOM files, with a table of labels or without."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pydicom

from vesalius.config.errors import InputError
from vesalius.data.formats.dicom.decode import DECODER_VERSION, decode_file
from vesalius.data.formats.dicom.index import Index, SeriesFiles, index_folder
from vesalius.data.formats.dicom.units import UNITS, Candidate, Slices, Unit, candidates_of
from vesalius.data.formats.dicom.values import Window
from vesalius.data.formats.images import adapt_channels
from vesalius.data.identities import Identities
from vesalius.data.samples import target_columns
from vesalius.data.sources.base import Source
from vesalius.data.sources.content import content_digest
from vesalius.data.sources.tables.labels import Labels, columns_without_table
from vesalius.data.sources.tables.target_cells import TaskOption

logger = logging.getLogger("vesalius")

MATCHES = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "path")


class Dicom(Source):
    """DICOM files in folders of any layout; names of files and folders do not matter.

    Files with the same SeriesInstanceUID are a series (of one echo). Its images are ordered by position along the
    normal of the slices, then by time (see `arrange`). No name, number or path of a patient leaves this source: samples
    and groups are called by pseudonyms, whose key and way back lie in one private file (see `Identities`).

    Where the images of a series have different windows, `window="auto"` spans them all, so that equal values stay equal
    within the series.

    Args:
        root: the folder.
        labels: a CSV or TSV table of targets; None for data without labels.
        target: its column with the target, or several columns (see `Labels`).
        key: its column that says which images a row is about.
        match: what of the files that column holds: PatientID, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID
            (with `unit="slice"`), or path (of a file or folder, relative to `root`); None if the column is called so.
        unit: "slice" (every image by itself), "volume" (the slices of a volume are the frames of a series; every
            phase of a dynamic series is a volume), or "time_series" (the phases at one position are a series).
        slices: of a time series: numbers of the positions wanted, from 0, "middle", or None for all.
        window: "auto" (the files' own), "none" (float32 as meant, such as Hounsfield units), or centre and width.
        modality: the modalities wanted; None for all pictures of patients.
        description: a regular expression that must be found in SeriesDescription.
        channels: make every image grey (1) or RGB (3); None leaves them as they are.
        on_bad_series: `skip` leaves out series that cannot be ordered, and files that cannot be read.
        classes, task, group, split, subgroups, separator, unmatched: see `Labels`; without `group` the patient is the
            group.
        progress: show a bar where reading headers takes long.

    Raises:
        InputError: with every problem of these settings and of the table.
    """

    def __init__(
        self,
        root: str,
        labels: str | None,
        target: str | Sequence[str] | None,
        key: str = "PatientID",
        match: str | None = None,
        unit: Unit = "slice",
        slices: Slices = None,
        window: Literal["auto", "none"] | Sequence[float] = "auto",
        modality: Sequence[str] | None = None,
        description: str | None = None,
        channels: Literal[1, 3] | None = None,
        on_bad_series: Literal["error", "skip"] = "error",
        classes: Sequence[str] | None = None,
        task: TaskOption = "auto",
        group: str | None = None,
        split: str | None = None,
        subgroups: Sequence[str] = (),
        separator: str | None = None,
        unmatched: Literal["error", "skip"] = "error",
        progress: bool = True,
    ) -> None:
        self.root = Path(root).expanduser()
        self._match = match or key
        self._unit, self._slices, self._channels = unit, slices, channels
        self._window: Window = window if isinstance(window, str) else tuple(window)  # type: ignore[assignment]
        self._modality = [modality] if isinstance(modality, str) else modality
        self._description, self._on_bad_series, self._unmatched = description, on_bad_series, unmatched
        self._progress = progress
        columns: dict[str, Any] = {
            "target": target,
            "classes": classes,
            "task": task,
            "group": group,
            "split": split,
            "subgroups": subgroups,
            "separator": separator,
        }
        self._check_settings(labels, columns)
        self._labels = None if labels is None else Labels(labels, key=key, **columns)
        self.task, self.classes = "unlabelled", ()
        if self._labels is not None:
            self.task, self.classes = self._labels.task, self._labels.classes
        self.series = unit != "slice"

    def samples(self) -> pd.DataFrame:
        """The table, in the order of the files' paths; see `Source.samples`."""
        return self._table.copy()

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One image (C, H, W), or series (T, C, H, W): uint8 or uint16, or float32 with `window="none"`."""
        name, window = str(row["sample_id"]), row["_window"]
        wanted: dict[str, list[int | None]] = {}
        for path, number in row["_frames"]:
            wanted.setdefault(path, []).append(number)
        decoded: dict[tuple[str, int | None], np.ndarray] = {}
        for path, numbers in wanted.items():
            chosen = [number for number in numbers if number is not None]
            frames = decode_file(self.root / path, name, window=window, frames=chosen or None)
            decoded |= {(path, number): frame for number, frame in zip(numbers, frames, strict=True)}
        images = [adapt_channels(decoded[path, number], self._channels) for path, number in row["_frames"]]
        return np.stack(images) if self.series else images[0]

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The files that hold the frames."""
        return [self.root / path for path in dict.fromkeys(path for path, _ in row["_frames"])]

    def fingerprint(self) -> str:
        """Of every file that is used, and of the settings; one read of these files."""
        paths = sorted({path for frames in self._table["_frames"] for path, _ in frames})
        # The window of a series spans all its slices, also those that are not used.
        windows = [repr(window) for window in self._table["_window"]]
        settings = [
            DECODER_VERSION,
            pydicom.__version__,
            self._unit,
            self._slices,
            self._window,
            self._channels,
            windows,
        ]
        return content_digest(self.root, paths, settings, show_names=False)

    def _check_settings(self, labels: str | None, columns: Mapping[str, Any]) -> None:
        problems = columns_without_table(columns) if labels is None else []
        if labels is not None and columns["target"] is None:
            problems.append(
                "`data.source.target` must name the column of the labels with the class or quantity; for data without "
                "labels set `data.source.labels` to null too."
            )
        if self._match not in MATCHES:
            problems.append(
                f"`data.source.match` must say what the column `{self._match}` holds: one of {', '.join(MATCHES)}."
            )
        if self._match == "SOPInstanceUID" and self._unit != "slice":
            problems.append(f"`SOPInstanceUID` is the key of a single image, not of a {self._unit}: set unit=slice.")
        if self._unit not in UNITS:
            problems.append(f"`data.source.unit={self._unit}` must be one of {', '.join(UNITS)}.")
        if not _is_window(self._window):
            problems.append(
                f"`data.source.window={self._window}` must be auto, none, or [centre, width] with a width above 0."
            )
        if self._slices is not None and self._unit != "time_series":
            problems.append(
                "`data.source.slices` picks positions of a time series: set unit=time_series, or leave it out."
            )
        slices: Any = self._slices
        whole = isinstance(slices, list | tuple) and slices and all(isinstance(place, int) for place in slices)
        if slices not in (None, "middle") and not whole:
            problems.append(f"`data.source.slices={self._slices}` must be middle, a list of numbers, or null.")
        if self._channels not in (None, 1, 3):
            problems.append(f"`data.source.channels={self._channels}` must be 1, 3 or null.")
        if self._on_bad_series not in ("error", "skip"):
            problems.append(f"`data.source.on_bad_series={self._on_bad_series}` must be error or skip.")
        if problems:
            raise InputError(problems)

    @cached_property
    def _table(self) -> pd.DataFrame:
        index = index_folder(self.root, modality=self._modality, description=self._description, progress=self._progress)
        candidates = [
            candidate for series in index.series for candidate in candidates_of(series, self._unit, self._slices)
        ]
        what = "images" if self._unit == "slice" else "series"
        if not candidates:  # every file is damaged
            self._report(index, [])
        joined = self._joined(candidates, what)
        labelled = joined[target_columns(joined)].notna().all(axis=1).to_numpy()
        bad = [candidate for candidate, use in zip(candidates, labelled, strict=True) if use and candidate.reason]
        self._report(index, bad)
        self.left_out = self._named(index, bad)
        good = labelled & np.array([candidate.reason is None for candidate in candidates])
        if not good.any():
            raise InputError(f"none of the {len(candidates)} {what} can be used: see `data.source.on_bad_series`.")
        chosen = [candidate for candidate, use in zip(candidates, good, strict=True) if use]
        return self._rows(chosen, joined[good].reset_index(drop=True))

    def _named(self, index: Index, bad: Sequence[Candidate]) -> list[tuple[str, str]]:
        """What is left out: a pseudonym and the reason, which names nobody."""
        identities = Identities.open()
        files = [path for path, _ in index.damaged]
        series = list({id(candidate.series): candidate for candidate in bad}.values())
        reasons = ["the file is damaged"] * len(files) + [str(candidate.reason) for candidate in series]
        names = identities.pseudonyms("file", files)
        names += identities.pseudonyms("series", _series_ids([candidate.series for candidate in series]))
        return list(zip(names, reasons, strict=True))

    def _joined(self, candidates: Sequence[Candidate], what: str) -> pd.DataFrame:
        """What the table of labels says of each; no column without such a table."""
        labels = self._labels
        if labels is None:
            return pd.DataFrame(index=range(len(candidates)))
        cells = {
            cell.strip().replace("\\", "/").removeprefix("./").strip("/"): cell for cell in labels.table[labels.key]
        }
        keys = [self._key(candidate, cells) for candidate in candidates]
        return labels.join(keys, what=what, unmatched=self._unmatched)

    def _key(self, candidate: Candidate, cells: Mapping[str, str]) -> str:
        """What the table of labels, whose cells these are by the paths that they may mean, calls it."""
        series, first = candidate.series, candidate.frames[0]
        if self._match != "path":
            return {
                "PatientID": series.patient,
                "StudyInstanceUID": series.study,
                "SeriesInstanceUID": series.uid,
                "SOPInstanceUID": first.instance,
            }[self._match]
        places = [first.path, *(parent.as_posix() for parent in Path(first.path).parents)]
        spelt = [cells[place] for place in places if place in cells]
        return spelt[0] if spelt else places[0 if self._unit == "slice" else 1]

    def _report(self, index: Index, bad: Sequence[Candidate]) -> None:
        """Refuse or count what cannot be used. The log is recorded, so it has counts alone."""
        if index.others or index.not_dicom:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(index.others.items()))
            logger.info("Passed over %s%d files that are no DICOM.", f"{kinds}, and " if kinds else "", index.not_dicom)
        series = {id(candidate.series): candidate for candidate in bad}.values()
        if self._on_bad_series == "error":
            problems = [_sentence(candidate) for candidate in series] + [reason for _, reason in index.damaged]
            if problems:
                cure = "To leave out all series and files that cannot be used: data.source.on_bad_series=skip."
                raise InputError([*problems[:100], cure])
        elif bad or index.damaged:
            reasons = Counter(str(candidate.reason).split(":")[0] for candidate in series)
            told = "; ".join(f"{count} where {reason}" for reason, count in reasons.most_common(5))
            logger.warning(
                "%d series (%d files) and %d damaged files are left out%s.",
                len(series),
                sum(len({frame.path for frame in candidate.series.frames}) for candidate in series),
                len(index.damaged),
                f": {told}" if told else "",
            )

    def _rows(self, candidates: Sequence[Candidate], joined: pd.DataFrame) -> pd.DataFrame:
        table = pd.DataFrame(
            {
                "sample_id": self._sample_ids(candidates),
                "group_id": self._groups(candidates, joined),
                "split": joined["split"] if "split" in joined else pd.Series([None] * len(joined), dtype=object),
            }
        )
        table = table.join(joined.drop(columns=["group_id", "split"], errors="ignore"))
        if self.task != "regression":
            table = table.astype(dict.fromkeys(target_columns(table), int))
        frames = [[(frame.path, frame.number) for frame in candidate.frames] for candidate in candidates]
        table["_frames"] = pd.Series(frames, dtype=object)
        table["_window"] = pd.Series([self._common_window(one.series) for one in candidates], dtype=object)
        timed = [candidate.times is not None for candidate in candidates]
        if all(timed):
            table["_times"] = pd.Series([list(candidate.times or ()) for candidate in candidates], dtype=object)
        elif any(timed):
            logger.warning(
                "%d of %d series do not say when their frames were taken: all go by frame number.",
                len(timed) - sum(timed),
                len(timed),
            )
        return table

    def _sample_ids(self, candidates: Sequence[Candidate]) -> list[str]:
        identities = Identities.open()
        if self._unit == "slice":
            frames = [candidate.frames[0] for candidate in candidates]
            names = identities.pseudonyms("instance", [frame.instance or frame.path for frame in frames])
            return [
                name if frame.number is None else f"{name}_{frame.number:03d}"
                for name, frame in zip(names, frames, strict=True)
            ]
        names = identities.pseudonyms("series", _series_ids([candidate.series for candidate in candidates]))
        return [
            f"{name}{f'_p{candidate.series.part}' if candidate.series.parts > 1 else ''}{candidate.suffix}"
            for name, candidate in zip(names, candidates, strict=True)
        ]

    def _groups(self, candidates: Sequence[Candidate], joined: pd.DataFrame) -> list[str]:
        identities = Identities.open()
        if "group_id" in joined:
            return identities.pseudonyms("group", joined["group_id"].astype(str).tolist())
        without = sum(not candidate.series.patient for candidate in candidates)
        if without:
            logger.warning(
                "%d of %d samples have no PatientID: their study stands for the patient, who may have several.",
                without,
                len(candidates),
            )
        return identities.pseudonyms("patient", _patients([candidate.series for candidate in candidates]))

    def _common_window(self, series: SeriesFiles) -> Window:
        """The window of all slices of a series: one that spans those of all, where they differ."""
        windows = {frame.window for frame in series.frames}
        if self._window != "auto" or len(windows) < 2 or any(frame.position is None for frame in series.frames):
            return self._window
        edges = [window for window in windows if window is not None]
        if len(edges) < len(windows):
            return "auto"
        low, high = min(low for low, _ in edges), max(high for _, high in edges)
        return ((low + high) / 2, high - low) if high > low else "auto"


def _is_window(window: Any) -> bool:
    if isinstance(window, str):
        return window in ("auto", "none")
    return len(window) == 2 and all(isinstance(edge, int | float) for edge in window) and window[1] > 0


def _series_ids(several: Sequence[SeriesFiles]) -> list[str]:
    """UIDs; with the patient and study where software gave one UID to the series of several."""
    owners: dict[str, set[tuple[str, str, str]]] = {}
    for series in several:
        owners.setdefault(series.uid, set()).add((series.patient, series.issuer, series.study))
    return [
        series.uid
        if series.uid and len(owners[series.uid]) == 1
        else "\\".join((series.uid, series.patient, series.issuer, series.study, "" if series.uid else series.folder))
        for series in several
    ]


def _patients(several: Sequence[SeriesFiles]) -> list[str]:
    """Who each series is of: the id, with its issuer where every series of that id names one.

    A patient whose issuer is named here and there must not become two, who could stand in two splits.
    """
    unnamed = {series.patient for series in several if not series.issuer}
    return [
        (series.study or series.folder)
        if not series.patient
        else series.patient
        if series.patient in unnamed
        else f"{series.patient}^^^{series.issuer}"
        for series in several
    ]


def _sentence(candidate: Candidate) -> str:
    series = candidate.series
    where = "the folder itself" if series.folder == "." else series.folder
    return f"series {series.uid or '(without UID)'} in {where} ({len(series.frames)} images): {candidate.reason}."
