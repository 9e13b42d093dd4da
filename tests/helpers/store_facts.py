"""The facts of a store, as far as a contract needs them."""

from vesalius.config.facts import Facts
from vesalius.data.store.store import Store


def facts_of(store: Store, *, timed: bool = False) -> Facts:
    """Facts that fit a store; its statistics are no real ones."""
    return Facts(
        task="unlabelled",
        classes=(),
        channels=store.shape[0],
        image_size=store.shape[1:],
        value_max={"torch.uint8": 255.0, "torch.uint16": 65535.0}.get(str(store.dtype), 1.0),
        class_counts=(),
        train_size=1,
        mean=(0.0,) * store.shape[0],
        std=(1.0,) * store.shape[0],
        sequence_length=int(store.lengths.max()) if store.series else None,
        time_step=1.0 if timed else None,
    )
