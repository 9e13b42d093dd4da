"""Leakage, duplicates, label conflicts and image quality, checked before anything trains."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "datamodule": ["AuditData"],
    },
)
