"""The process in which decoders run that may crash; run by file name, so that it imports nothing of the package.

It reads requests from its standard input and writes replies to its standard output until the input ends: of each a line
of JSON, then raw bytes. Damaged pixels may take this process over; whoever reads its replies builds nothing but arrays.
"""

import contextlib
import json
import logging
import os
import sys
import warnings

_MEMORY = 2**33


def main() -> None:
    """Decode until the input ends.

    A request: `syntax`, `plugin`, `options`, `offsets` (of the frames, in hexadecimal digits, or null), and `size`, of
    the compressed pixels, which follow. A reply: `type` and `shape` of the pixels, which follow; or `reason`.
    """
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not get among the replies
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    from pydicom.pixels.decoders.base import get_decoder

    while line := requests.readline():
        request = json.loads(line)
        compressed, options = requests.read(request["size"]), request["options"]
        if request["offsets"] is not None:
            options["extended_offsets"] = tuple(map(bytes.fromhex, request["offsets"]))
        pixels, reply = b"", {}
        try:
            decoder = get_decoder(request["syntax"])
            decoded = decoder.as_array(compressed, decoding_plugin=request["plugin"], **options)[0]
            pixels, reply = decoded.tobytes(), {"type": decoded.dtype.str, "shape": decoded.shape}
        except MemoryError:
            reply = {"reason": "it needs too much memory"}
        except Exception as error:
            reply = {"reason": str(error)}
        replies.write(json.dumps(reply).encode() + b"\n" + pixels)
        replies.flush()


if __name__ == "__main__":
    main()
