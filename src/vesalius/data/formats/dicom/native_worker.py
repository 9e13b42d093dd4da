"""A process of its own for decoders that may crash; run by file name, so that it imports nothing of the package.

It reads requests from its standard input and answers on its standard output, both pickled, until the input ends.
"""

import contextlib
import logging
import os
import pickle
import sys
import warnings

_MEMORY = 2**33


def main() -> None:
    """Answer requests `(syntax, plugin, pixels, options)` with `(True, array)` or `(False, reason)`."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not come among the answers
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    from pydicom.pixels.decoders.base import get_decoder

    while True:
        try:
            syntax, plugin, pixels, options = pickle.load(requests)
        except EOFError:
            return
        answer: tuple[bool, object]
        try:
            answer = (True, get_decoder(syntax).as_array(pixels, decoding_plugin=plugin, **options)[0])
        except MemoryError:
            answer = (False, "it needs too much memory")
        except Exception as error:
            answer = (False, str(error))
        pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    main()
