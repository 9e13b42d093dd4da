"""Where in an image, and when in a series, a model finds what it predicts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "methods": ["BY_GRADIENTS", "METHODS", "Explanation", "explain", "explanations"],
    },
)
