"""Composing, checking and freezing configs; the facts that a model knows of its data; errors."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checks": ["check_config"],
        "compose": ["load_config"],
        "errors": ["InputError"],
        "facts": ["Facts"],
    },
)
