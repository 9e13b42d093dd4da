"""A trained model as a folder for others: an ONNX graph, its manifest, a model card; read and run without torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "backend": ["BundleBackend"],
        "export": ["export_run"],
        "reading": ["Bundle"],
    },
)
