"""A finished model behind HTTP: predictions for uploaded files, a page to drop them on, and limits on all of it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "app": ["create_app"],
        "limits": ["Limits"],
        "server": ["hosts_of", "is_loopback", "listen", "run_server"],
    },
)
