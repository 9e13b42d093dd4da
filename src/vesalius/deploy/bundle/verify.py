"""Whether a bundle's files are those that were exported, and computes here what the trained model did."""

from dataclasses import dataclass
from pathlib import Path

from vesalius.deploy.bundle.backend import OUTPUTS, BundleBackend
from vesalius.deploy.bundle.golden import check_golden
from vesalius.deploy.bundle.reading import Bundle
from vesalius.deploy.bundle.session import Session
from vesalius.runs.hashes import file_hash
from vesalius.runs.run_folder import MANIFEST


@dataclass(frozen=True)
class VerifiedBundle:
    """What a check came to.

    Attributes:
        files: how many have the hash that the manifest states.
        difference: the largest of the golden outputs, as a share of an output's scale.
        sha256: of the manifest: it identifies the bundle.
    """

    files: int
    difference: float
    sha256: str


def verify_bundle(path: str | Path) -> VerifiedBundle:
    """Check the hash of every file, that manifest, graph and metrics agree, and the golden inputs from the files on.

    Raises:
        InputError: for a bundle that is damaged, changed, or contradicts itself.
        RunFailed: where the golden outputs differ.
    """
    bundle = Bundle(path)
    if bundle.manifest.kind in OUTPUTS:
        BundleBackend(path)
    difference = check_golden(bundle, Session.of(bundle))
    return VerifiedBundle(len(bundle.manifest.hashes), difference, file_hash(bundle.path / MANIFEST))
