"""The process in which decoders run that may crash; run by file name, so that it imports nothing of the package.

It reads requests from its standard input and writes replies to its standard output, both pickled, until the input ends.
"""

import contextlib
import logging
import os
import pickle
import sys
import warnings

_MEMORY = 2**33


def main() -> None:
    """Reply to requests `(syntax, plugin, pixels, options)` with `(True, array)` or `(False, reason)`."""
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not get among the replies
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
        reply: tuple[bool, object]
        try:
            reply = (True, get_decoder(syntax).as_array(pixels, decoding_plugin=plugin, **options)[0])
        except MemoryError:
            reply = (False, "it needs too much memory")
        except Exception as error:
            reply = (False, str(error))
        pickle.dump(reply, replies, protocol=pickle.HIGHEST_PROTOCOL)
        replies.flush()


if __name__ == "__main__":
    main()
