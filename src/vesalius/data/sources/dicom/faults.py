"""Files and series that cannot be used: what messages say of them, and their pseudonyms."""

from collections.abc import Sequence

from vesalius.config.diagnose import format_list
from vesalius.data.formats.dicom.index import Index
from vesalius.data.identities import Identities
from vesalius.data.sources.dicom.candidates import Candidate
from vesalius.data.sources.dicom.names import series_keys

_SHOWN = 20  # files or series that a message names


def pseudonyms_of(index: Index, bad: Sequence[Candidate]) -> list[tuple[str, str]]:
    """A pseudonym of each file and series that is left out, and the reason, which names nobody."""
    identities = Identities.open()
    files = [path for path, _ in index.damaged]
    series = list({id(candidate.series): candidate for candidate in bad}.values())
    reasons = ["the file is damaged"] * len(files) + [str(candidate.reason) for candidate in series]
    names = identities.pseudonyms("file", files)
    names += identities.pseudonyms("series", series_keys([candidate.series for candidate in series]))
    return list(zip(names, reasons, strict=True))


def describe_series(bad: Sequence[Candidate]) -> list[str]:
    """A sentence for each reason why series cannot be used."""
    of_kind: dict[str, list[Candidate]] = {}
    for candidate in bad:
        of_kind.setdefault(str(candidate.reason).split(":")[0], []).append(candidate)
    sentences = []
    for found in of_kind.values():
        series = [
            f"{candidate.series.uid or '(without UID)'} in "
            f"{'the folder itself' if candidate.series.folder == '.' else candidate.series.folder} "
            f"({len(candidate.series.frames)} images)"
            for candidate in found
        ]
        count = "series" if len(found) == 1 else f"{len(found)} series"
        sentences.append(f"{count} {format_list(series, _SHOWN)}: {found[0].reason}.")
    return sentences


def describe_damaged(index: Index) -> list[str]:
    """A sentence for each kind of damage."""
    of_kind: dict[str, list[tuple[str, str]]] = {}
    for path, reason in index.damaged:
        of_kind.setdefault(reason.replace(path, "", 1), []).append((path, reason))
    sentences = []
    for found in of_kind.values():
        others = [path for path, _ in found[1:]]
        more = f" The same holds for {len(others)} more: {format_list(others, _SHOWN)}." if others else ""
        sentences.append(found[0][1] + more)
    return sentences
