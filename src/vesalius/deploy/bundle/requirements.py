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
#: Of compressed DICOM pixels; that of lossless JPEG is large, and listed in a comment.
DECODERS = ("pyjpegls>=1.4", "pylibjpeg>=2.0", "pylibjpeg-openjpeg>=2.3")
LOSSLESS_JPEG = "python-gdcm>=3.0"
#: Of reports for studies.
REPORTS = ("highdicom>=0.25", "pynetdicom>=3.0")
SERVER = ("fastapi>=0.115", "python-multipart>=0.0.20", "uvicorn>=0.34")


def requirements() -> str:
    """The text of the file."""
    parts = [
        "# All that this bundle needs to predict and to be served; no torch. Vesalius itself without its dependencies:",
        f"#   pip install --no-deps vesalius=={__version__}",
        "#   pip install --no-compile -r requirements.txt",
        *RUNTIME,
        "# For DICOM files compressed by JPEG-LS and JPEG 2000:",
        *DECODERS,
        f"# By lossless JPEG, 40 MB more: {LOSSLESS_JPEG}",
        "# For the server:",
        *SERVER,
        "# For DICOM reports, and a server that is a DICOM node:",
        *REPORTS,
    ]
    return "\n".join(parts) + "\n"
