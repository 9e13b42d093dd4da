"""Options of a datamodule that are out of range, or make no sense for the task of the data."""

from collections.abc import Mapping

from vesalius.config.errors import InputError


def check_options(task: str, counts: Mapping[str, int | None], *, sampling: str, shuffle_labels: bool) -> None:
    """Refuse impossible options, all at once.

    Args:
        task: of the source.
        counts: options that are 1 or more, or None, by name.
        sampling: `natural` or `balanced`.
        shuffle_labels: whether targets are shuffled among the patients.

    Raises:
        InputError: with every problem and its cure.
    """
    low = {name: count for name, count in counts.items() if count is not None and count < 1}
    problems = [f"data.{name}={count}: must be 1 or more." for name, count in low.items()]
    if sampling == "balanced" and task == "regression":
        problems.append("data.sampling=balanced: a regression has no classes to balance: leave it natural.")
    if task == "unlabelled":
        if sampling == "balanced":
            problems.append(
                "data.sampling=balanced: the data have no labels, so no classes to balance: leave it natural."
            )
        if shuffle_labels:
            problems.append("data.shuffle_labels=true: the data have no labels to shuffle: leave it false.")
    if problems:
        raise InputError(problems)


def check_validation(samples: int, batch_size: int, devices: int) -> None:
    """Refuse validation that leaves a device without a sample.

    Raises:
        InputError: with the cure.
    """
    if min(samples, batch_size) < devices:
        raise InputError(
            f"data: {samples} validation samples in batches of {batch_size} cannot be shared by {devices} devices, "
            "each of which needs one: raise data.eval_batch_size, give validation more samples, or take fewer devices."
        )
