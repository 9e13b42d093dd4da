"""Which way a metric gets better."""

_FALLING = ("loss", "mae", "mse", "distance", "kid", "ece", "brier")
_RISING = ("auroc", "precision", "accuracy", "recall", "specificity", "f1", "psnr", "ssim", "r2", "density", "coverage")


def mode_of(name: str) -> str | None:
    """`min` where a metric is better the lower it is, `max` the higher; None of a metric of the user's own.

    Args:
        name: with or without `val/`, and with the class where it is of one: `recall/nodule`.
    """
    metric = name.removeprefix("val/").removeprefix("train/").partition("/")[0]
    if metric.endswith(_FALLING):
        return "min"
    return "max" if metric.endswith(_RISING) else None
