"""The process in which decoders run that may crash; run by file name, so that it imports nothing of the package.

It reads requests from its standard input and writes replies to its standard output until the input ends: of each a line
of JSON, then raw bytes. Damaged pixels may take this process over; whoever reads its replies builds nothing but arrays.
"""

import contextlib
import json
import logging
import os
import sys
import time
import warnings

_MEMORY, _OWN_MEMORY = 2**33, 2**30  # bytes: the most, and what the process needs without pixels
_COPIES, _SECONDS, _FILES = 6, 120, 64


def main() -> None:
    """Decode until the input ends.

    A request: `syntax`, `plugin`, `options`, `offsets` (of the frames, in hexadecimal digits, or null), `bytes` that
    the pixels should have, and `size` of the compressed ones, which follow. A reply: `type` and `shape` of the pixels,
    which follow; or `reason`.
    """
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not get among the replies
    sys.dont_write_bytecode = True
    limit()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    from pydicom.pixels.decoders.base import get_decoder

    while line := requests.readline():
        request = json.loads(line)
        limit(request["bytes"])
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


def limit(pixel_bytes: int = 0) -> None:
    """Bound what decoding may take, where the system can: the process ends, or fails, when it takes more.

    It writes no file, leaves no image of its memory behind, has few files open, some seconds of the processor for each
    request, and memory for itself and for some copies of the pixels.
    """
    with contextlib.suppress(ImportError):
        import resource

        seconds = int(time.process_time()) + _SECONDS
        memory = min(_OWN_MEMORY + _COPIES * pixel_bytes, _MEMORY)
        limits = {
            resource.RLIMIT_AS: (memory, _MEMORY),
            resource.RLIMIT_CPU: (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]),
            resource.RLIMIT_NOFILE: (_FILES, _FILES),
            resource.RLIMIT_FSIZE: (0, 0),
            resource.RLIMIT_CORE: (0, 0),
        }
        for kind, (soft, hard) in limits.items():
            with contextlib.suppress(ValueError, OSError):  # not on every system
                resource.setrlimit(kind, (soft, hard))


if __name__ == "__main__":
    main()
