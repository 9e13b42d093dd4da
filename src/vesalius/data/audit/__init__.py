"""The audit of a data set before anything is trained: leakage, duplicates, label conflicts, image quality."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "datamodule": ["AuditData"],
    },
)
