"""The packages that predicting from a bundle and serving it import: `requirements.txt` of a bundle."""

from vesalius import __version__

#: Packages with their lower bounds, which are pyproject.toml's.
RUNTIME = (
    "hydra-core>=1.3.2,<1.4",
    "lazy-loader>=0.4",
    "nibabel>=5.3",
    "numpy>=2.0",
    "omegaconf>=2.3",
    "onnxruntime>=1.20",
    "pandas>=2.2",
    "pillow>=11",
    "pydicom>=3.0",
    "pyyaml>=6.0",
    "rich>=13.9",
    "safetensors>=0.5",
)
#: Of DICOM pixels that JPEG-LS and JPEG 2000 compressed.
DECODERS = ("pyjpegls>=1.4", "pylibjpeg>=2.0", "pylibjpeg-openjpeg>=2.3")
SERVER = ("fastapi>=0.115", "python-multipart>=0.0.20", "uvicorn>=0.34")
#: What only some need, and what for: 75 MB more.
OPTIONAL = {
    "python-gdcm>=3.0": "for DICOM files compressed by lossless JPEG",
    "highdicom>=0.25": "for DICOM reports",
    "pynetdicom>=3.0": "for a server that is a DICOM node",
}


def requirements() -> str:
    """The text of the file."""
    parts = [
        "# All that this bundle needs to predict and to be served; no torch. Vesalius itself without its dependencies:",
        f"#   pip install --no-deps vesalius=={__version__}",
        "#   pip install --no-compile -r requirements.txt",
        *RUNTIME,
        "# For DICOM files compressed by JPEG-LS and JPEG 2000:",
        *DECODERS,
        "# For the server:",
        *SERVER,
        "# As needed, without the sign in front:",
        *(f"#{package}  # {purpose}" for package, purpose in OPTIONAL.items()),
    ]
    return "\n".join(parts) + "\n"
