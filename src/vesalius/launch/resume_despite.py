"""`resume_despite=[code]`: the user's word that a run goes on although something has changed. Torch-free.

It is a word about one command, and no part of a run's config: the processes that the command starts find it in their
environment.
"""

import os
from collections.abc import Sequence

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.runs.provenance.changes import code_changes
from vesalius.runs.run_folder import RunFolder

KEY = "resume_despite"
WORDS = ("code", "data", "split")
_VARIABLE = "VESALIUS_RESUME_DESPITE"


def set_despite(words: Sequence[str]) -> None:
    """Let this process and those that it starts go on despite these changes.

    Raises:
        InputError: for another word than those of `WORDS`.
    """
    if isinstance(words, str):
        words = [words]
    for word in words:
        if word not in WORDS:
            raise InputError(f"{KEY}={word}: one or more of {', '.join(WORDS)}.{did_you_mean(str(word), WORDS)}")
    if words:
        os.environ[_VARIABLE] = ",".join(words)


def is_despite(word: str) -> bool:
    """Whether the user has given this word."""
    return word in os.environ.get(_VARIABLE, "").split(",")


def refusal(word: str, what: str) -> InputError:
    """The error for a change that the user has not allowed.

    Args:
        word: that allows it.
        what: has changed, the begin of a sentence.
    """
    return InputError(
        f"{what} since the run was stopped, so that it would not end as one that never was: undo that, start a new "
        f"run, or go on all the same with {KEY}=[{word}], which its provenance then records."
    )


def check_code(folder: RunFolder) -> None:
    """Refuse to go on from a checkpoint with other code than it was trained with.

    Raises:
        InputError: naming what is another version now.
    """
    if is_despite("code") or not any(folder.checkpoints.glob("*.ckpt")):
        return
    if changed := code_changes(folder.provenance):
        raise refusal("code", f"{folder.path}: {', '.join(changed)} changed")
