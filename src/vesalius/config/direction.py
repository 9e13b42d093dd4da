"""Which way a metric gets better."""

_FALLING = ("loss", "mae", "mse", "distance", "divergence", "kid", "ece", "brier")
_RISING = ("auroc", "precision", "accuracy", "recall", "specificity", "f1", "psnr", "ssim", "r2", "density", "coverage")


def mode_of(name: str) -> str | None:
    """`min` for a metric that is better the lower it is, `max` for the others; None for a user's own metric.

    Args:
        name: with or without `val/`, and with a class after it: `recall/nodule`.
    """
    metric = name.removeprefix("val/").removeprefix("train/").partition("/")[0]
    if metric.endswith(_FALLING):
        return "min"
    return "max" if metric.endswith(_RISING) else None
