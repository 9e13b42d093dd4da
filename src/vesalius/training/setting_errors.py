"""What Lightning or torch raises about a setting of the user's, as one message with the key."""

from collections.abc import Mapping
from typing import Any

from lightning_fabric.utilities.exceptions import MisconfigurationException

from vesalius.config.errors import InputError


def setting_error(error: Exception, config: Mapping[str, Any]) -> InputError | None:
    """The message for an error of training that a setting causes; None for any other error.

    Args:
        error: raised while a model was fitted.
        config: frozen, of the run.
    """
    text = " ".join(str(error).split())
    if "Expected more than 1 value per channel when training" in text:
        return InputError(
            f"data.batch_size={config['data']['batch_size']}: BatchNorm needs more than one value per channel in a "
            "step, and a single small image has one: set data.batch_size to 2 or more, or use larger images."
        )
    if "`val_check_interval`" in text:
        interval = config["trainer"].get("val_check_interval")
        return InputError(f"trainer.val_check_interval={interval}: {text}")
    return InputError(f"trainer or callbacks: {text}") if isinstance(error, MisconfigurationException) else None
