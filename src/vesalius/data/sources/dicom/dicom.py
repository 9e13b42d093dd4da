"""A folder of DICOM files, with or without a table of labels."""

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
from vesalius.data.formats.dicom.ordering import series_window
from vesalius.data.formats.images import adapt_channels, convert_bits
from vesalius.data.formats.window import Window, to_window, window_problems
from vesalius.data.identities import Identities
from vesalius.data.remote.mirror import local_folder
from vesalius.data.samples import target_columns
from vesalius.data.sources.base import Source
from vesalius.data.sources.content import content_digest
from vesalius.data.sources.dicom.candidates import Candidate, candidates_of
from vesalius.data.sources.dicom.faults import describe_damaged, describe_series, pseudonyms_of
from vesalius.data.sources.dicom.header_subgroups import KEYWORDS, header_subgroups
from vesalius.data.sources.dicom.names import patient_keys, sample_ids
from vesalius.data.sources.patients import find_patients, pattern_problems, unify_patients
from vesalius.data.sources.tables.labels import Labels, columns_without_table, whole_targets
from vesalius.data.sources.tables.target_cells import TaskOption
from vesalius.data.sources.vocabulary import Slices, Unit, slices_problems

logger = logging.getLogger("vesalius")

MATCHES = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "path")


class Dicom(Source):
    """DICOM files in folders of any layout; names of files and folders have no meaning.

    Files with the same SeriesInstanceUID are a series (of one echo). Its images are ordered by position along the
    normal of the slices, then by time (see `arrange`). No name, number or path of a patient leaves this source: samples
    and groups have pseudonyms, which only one private file can translate back (see `Identities`).

    If the images of a series have different windows, `window="auto"` spans them all, so that equal values stay equal
    within the series.

    Args:
        root: the folder, or its address on a server.
        labels: a CSV or TSV table of targets; None for data without labels.
        target: its column with the target, or several columns (see `Labels`).
        key: its column with the key of the images.
        match: the attribute of the files that this key is: PatientID, StudyInstanceUID, SeriesInstanceUID,
            SOPInstanceUID (with `unit="slice"`), or path (of a sample's first file, an end of it, or a folder); None if
            the column has that name.
        unit: "slice" (every image by itself), "volume" (the slices of a volume are the frames of a series; every
            phase of a dynamic series is a volume), or "time_series" (the phases at one position are a series).
        slices: of a time series: numbers of the positions wanted, from 0 (negative: from the end), "middle", or None
            for all.
        window: "auto" (the files' own), "none" (float32 modality values, such as Hounsfield units), or centre and
            width.
        modality: the modalities wanted; None for all images of patients.
        description: a regular expression that must be found in SeriesDescription.
        channels: convert every image to grey (1) or RGB (3); None leaves them as they are.
        on_bad_series: `skip` leaves out series that cannot be ordered, and files that cannot be read.
        group_pattern: instead of the patient of the files, what the first group of a regular expression matches in the
            path (relative to `root`) of a sample's first file.
        classes, task, group, split, separator, replace, unmatched: see `Labels`; without `group` the patient is the
            group.
        subgroups: columns of the table to report on, and attributes of the files' headers (`KEYWORDS`).
        progress: show a bar if reading the headers takes long.
        mask_text: whether print, and what stands still over a cine, is filled with the grey values around it.

    Raises:
        InputError: with every problem of these settings and of the table.
    """

    unit: Unit

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
        replace: Mapping[str, str | None] | None = None,
        unmatched: Literal["error", "skip"] = "error",
        group_pattern: str | None = None,
        progress: bool = True,
        mask_text: bool = False,
    ) -> None:
        self.mask_text = mask_text
        self.root = local_folder(root)
        self._key, self._match = key, match or key
        self.unit, self._slices, self._channels = unit, slices, channels
        self._modality = [modality] if isinstance(modality, str) else modality
        self._description, self._on_bad_series, self._unmatched = description, on_bad_series, unmatched
        self._progress, self._group_pattern = progress, group_pattern
        self._header_subgroups = [name for name in subgroups if name in KEYWORDS]
        columns: dict[str, Any] = {
            "target": target,
            "classes": classes,
            "task": task,
            "group": group,
            "split": split,
            "subgroups": [name for name in subgroups if name not in KEYWORDS],
            "separator": separator,
            "replace": replace,
        }
        self._check_settings(labels, columns, window)
        self._window = to_window(window)
        self._labels = None if labels is None else Labels(labels, key=key, **columns)
        self.task, self.classes = "unlabelled", ()
        if self._labels is not None:
            self.task, self.classes = self._labels.task, self._labels.classes
        self.series = unit != "slice"

    def samples(self) -> pd.DataFrame:
        """The table, in the order of the files' paths."""
        return self._table.copy()

    def load(self, row: Mapping[str, Any]) -> np.ndarray:
        """One image (C, H, W), or series (T, C, H, W): uint8 or uint16; float32 with `window="none"`.

        With a window of the user's all are uint16, so that files of 8 bits go with files of 12.
        """
        name, window = str(row["sample_id"]), row["_window"]
        wanted: dict[str, list[int | None]] = {}
        for path, number in row["_frames"]:
            wanted.setdefault(path, []).append(number)
        decoded: dict[tuple[str, int | None], np.ndarray] = {}
        for path, numbers in wanted.items():
            chosen = [number for number in numbers if number is not None]
            frames = decode_file(self.root / path, name, window=window, frames=chosen or None)
            if isinstance(self._window, tuple):
                frames = convert_bits(frames, 16)
            decoded |= {(path, number): frame for number, frame in zip(numbers, frames, strict=True)}
        images = [adapt_channels(decoded[path, number], self._channels) for path, number in row["_frames"]]
        return np.stack(images) if self.series else images[0]

    def files(self, row: Mapping[str, Any]) -> list[Path]:
        """The files that hold the frames."""
        return [self.root / path for path in dict.fromkeys(path for path, _ in row["_frames"])]

    def fingerprint(self) -> str:
        """A digest of every file that is used, and of the settings; reads these files once."""
        paths = sorted({path for frames in self._table["_frames"] for path, _ in frames})
        # The window of a series spans all its slices, also those that are not used
        windows = [repr(window) for window in self._table["_window"]]
        settings = [
            DECODER_VERSION,
            pydicom.__version__,
            self.unit,
            self._slices,
            self._window,
            self._channels,
            windows,
            *self.masking,
        ]
        return content_digest(self.root, paths, settings, show_names=False)

    def _check_settings(self, labels: str | None, columns: Mapping[str, Any], window: str | Sequence[float]) -> None:
        problems = columns_without_table(columns) if labels is None else []
        problems += pattern_problems(self._group_pattern)
        if columns["group"] is not None and self._group_pattern is not None:
            problems.append("`data.source.group` and `data.source.group_pattern` exclude each other: set one.")
        if labels is not None and columns["target"] is None:
            problems.append(
                "`data.source.target` must name the column of the labels with the class or continuous target; for data "
                "without labels set `data.source.labels` to null too."
            )
        if self._match not in MATCHES:
            problems.append(
                f"`data.source.match` must name what the column `{self._match}` holds: one of {', '.join(MATCHES)}."
            )
        if self._match == "SOPInstanceUID" and self.unit != "slice":
            problems.append(f"`SOPInstanceUID` is the key of a single image, not of a {self.unit}: set unit=slice.")
        problems += window_problems(window) + slices_problems(self._slices)
        if self._slices is not None and self.unit != "time_series":
            problems.append(
                "`data.source.slices` chooses positions of a time series: set unit=time_series, or leave it out."
            )
        if problems:
            raise InputError(problems)

    @cached_property
    def _table(self) -> pd.DataFrame:
        index = index_folder(self.root, modality=self._modality, description=self._description, progress=self._progress)
        candidates = [
            candidate for series in index.series for candidate in candidates_of(series, self.unit, self._slices)
        ]
        what = "images" if self.unit == "slice" else "series"
        if not candidates:  # every file is damaged
            self._report(index, [])
        try:
            joined = self._join_labels(candidates, what)
        except InputError as error:
            raise InputError([*self._lost_files(index), *error.problems]) from None
        labelled = joined[target_columns(joined)].notna().all(axis=1).to_numpy()
        bad = [candidate for candidate, use in zip(candidates, labelled, strict=True) if use and candidate.reason]
        self._report(index, bad)
        self.left_out = pseudonyms_of(index, bad)
        counts = {**index.others, "files that are no DICOM": index.not_dicom, "damaged or unusable": len(self.left_out)}
        counts |= self._labels.left_out if self._labels is not None else {}
        self.passed_over = {kind: count for kind, count in counts.items() if count}
        good = labelled & np.array([candidate.reason is None for candidate in candidates])
        if not good.any():
            raise InputError(f"none of the {len(candidates)} {what} can be used: see `data.source.on_bad_series`.")
        chosen = [candidate for candidate, use in zip(candidates, good, strict=True) if use]
        return self._rows(chosen, joined[good].reset_index(drop=True))

    def _lost_files(self, index: Index) -> list[str]:
        """Sentences on damaged files, which may be why rows of the table find no image."""
        if not index.damaged or self._on_bad_series == "error":
            return describe_damaged(index)
        return [
            f"{len(index.damaged)} damaged files are left out (data.source.on_bad_series=skip), and rows that find no "
            "image may be theirs: set data.source.unmatched=skip too."
        ]

    def _join_labels(self, candidates: Sequence[Candidate], what: str) -> pd.DataFrame:
        """The labels of each candidate; no column without a table of labels."""
        labels = self._labels
        if labels is None:
            return pd.DataFrame(index=range(len(candidates)))
        keys = [self._key_of(candidate) for candidate in candidates]
        without = sum(not key for key in keys)
        if without and (without == len(keys) or self._unmatched == "error"):
            raise InputError(
                f"{without} of {len(keys)} {what} have an empty {self._match} (did an anonymiser remove it?), so "
                f"`{self._key}` of {labels.name} names none of them: join them by another key, such as "
                "data.source.match=SeriesInstanceUID or path."
            )
        return labels.join(keys, what=what, unmatched=self._unmatched, endings=self._match == "path")

    def _key_of(self, candidate: Candidate) -> str:
        series, first = candidate.series, candidate.frames[0]
        return {
            "PatientID": series.patient,
            "StudyInstanceUID": series.study,
            "SeriesInstanceUID": series.uid,
            "SOPInstanceUID": first.instance,
            "path": first.path,
        }[self._match]

    def _report(self, index: Index, bad: Sequence[Candidate]) -> None:
        """Refuse what cannot be used, or count it in the log, which is kept with the run and so names nobody."""
        if index.others or index.not_dicom:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(index.others.items()))
            logger.info("Skipped %s%d files that are no DICOM.", f"{kinds}, and " if kinds else "", index.not_dicom)
        series = {id(candidate.series): candidate for candidate in bad}.values()
        if self._on_bad_series == "error":
            problems = describe_series(list(series)) + describe_damaged(index)
            if problems:
                cure = "To leave out all series and files that cannot be used: data.source.on_bad_series=skip."
                raise InputError([*problems[:100], cure])
        elif bad or index.damaged:
            reasons = Counter(str(candidate.reason).split(":")[0] for candidate in series)
            counts = "; ".join(f"{count} where {reason}" for reason, count in reasons.most_common(5))
            logger.warning(
                "%d series (%d files) and %d damaged files are left out%s.",
                len(series),
                sum(len({frame.path for frame in candidate.series.frames}) for candidate in series),
                len(index.damaged),
                f": {counts}" if counts else "",
            )

    def _rows(self, candidates: Sequence[Candidate], joined: pd.DataFrame) -> pd.DataFrame:
        table = pd.DataFrame(
            {
                "sample_id": sample_ids(candidates, self.unit),
                "group_id": self._groups(candidates, joined),
                "split": joined["split"] if "split" in joined else pd.Series([None] * len(joined), dtype=object),
            }
        )
        table = whole_targets(table.join(joined.drop(columns=["group_id", "split"], errors="ignore")), self.task)
        frames = [[(frame.path, frame.number) for frame in candidate.frames] for candidate in candidates]
        table["_frames"] = pd.Series(frames, dtype=object)
        table["_window"] = pd.Series([self._common_window(one.series) for one in candidates], dtype=object)
        acquisitions = [candidate.frames[0].acquisition for candidate in candidates]
        table["_acquisition"] = pd.Series(acquisitions, dtype=object)
        first_files = [candidate.frames[0].path for candidate in candidates]
        table = table.assign(**header_subgroups(self.root, first_files, self._header_subgroups))
        timed = [candidate.times is not None for candidate in candidates]
        if all(timed):
            table["_times"] = pd.Series([list(candidate.times or ()) for candidate in candidates], dtype=object)
        elif any(timed):
            logger.warning(
                "%d of %d series have no times of their frames: frame numbers are used for all series.",
                len(timed) - sum(timed),
                len(timed),
            )
        return table

    def _groups(self, candidates: Sequence[Candidate], joined: pd.DataFrame) -> list[str]:
        identities = Identities.open()
        if "group_id" in joined:
            return identities.pseudonyms("group", joined["group_id"].astype(str).tolist())
        if self._group_pattern is not None:
            paths = [candidate.frames[0].path for candidate in candidates]
            found = find_patients(self._group_pattern, paths)
            found = unify_patients(found, identities.pseudonyms("file", paths), where="files")
            return identities.pseudonyms("patient", found)
        without = sum(not candidate.series.patient for candidate in candidates)
        if without:
            logger.warning(
                "%d of %d samples have no PatientID: each study is taken for a patient, who may have several.",
                without,
                len(candidates),
            )
        series = [candidate.series for candidate in candidates]
        keys, studies = patient_keys(series), {one.study for one in series}
        if len(set(keys)) == 1 and len(studies) > 1:
            logger.warning(
                "all %d samples of %d studies have the same PatientID (did an anonymiser write it?), so they count as "
                "a single patient: name the patients in data.source.group or data.source.group_pattern.",
                len(series),
                len(studies),
            )
        keys = unify_patients(keys, identities.pseudonyms("patient", keys), where="pseudonyms")
        return identities.pseudonyms("patient", keys)

    def _common_window(self, series: SeriesFiles) -> Window:
        """The window of all slices of a series: one that spans their windows, if these differ."""
        return series_window(series.frames) or "auto" if self._window == "auto" else self._window
