"""Names of samples and patients of DICOM files: what the pseudonyms stand for."""

from collections.abc import Sequence

from vesalius.data.formats.dicom.index import SeriesFiles
from vesalius.data.identities import Identities
from vesalius.data.sources.dicom.candidates import Candidate
from vesalius.data.sources.vocabulary import Unit


def sample_ids(candidates: Sequence[Candidate], unit: Unit) -> list[str]:
    """The `sample_id` of each candidate: the pseudonym of its image or series, and what is unique to the sample."""
    identities = Identities.open()
    if unit == "slice":
        frames = [candidate.frames[0] for candidate in candidates]
        names = identities.pseudonyms("instance", [frame.instance or frame.path for frame in frames])
        return [
            name if frame.number is None else f"{name}_{frame.number:03d}"
            for name, frame in zip(names, frames, strict=True)
        ]
    names = identities.pseudonyms("series", series_keys([candidate.series for candidate in candidates]))
    return [
        f"{name}{f'_p{candidate.series.part}' if candidate.series.parts > 1 else ''}{candidate.suffix}"
        for name, candidate in zip(names, candidates, strict=True)
    ]


def series_keys(several: Sequence[SeriesFiles]) -> list[str]:
    """The UID of each series; with the patient and study if software gave one UID to series of several of these."""
    owners: dict[str, set[tuple[str, str, str]]] = {}
    for series in several:
        owners.setdefault(series.uid, set()).add((series.patient, series.issuer, series.study))
    return [
        series.uid
        if series.uid and len(owners[series.uid]) == 1
        else "\\".join((series.uid, series.patient, series.issuer, series.study, "" if series.uid else series.folder))
        for series in several
    ]


def patient_keys(several: Sequence[SeriesFiles]) -> list[str]:
    """The patient of each series: the id, with its issuer if every series of that id names one.

    A patient whose issuer is only named in some series must not become two, who could be in two splits.
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
