"""The decoders of compressed pixels, and the process that each runs in.

pydicom's own decoders and Pillow withstand damaged data and run in this process. GDCM, CharLS (pyjpegls) and OpenJPEG
(pylibjpeg) abort on some of it, which would end a whole training run; they run in processes of their own, which are
started when first needed. A `ProcessPoolExecutor` would not do: one crash breaks the whole pool and every task in it, a
decoder that hangs cannot be stopped, and each of its processes imports the main module again.
"""

import atexit
import contextlib
import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import as_pixel_options, pixel_array

from vesalius.config.errors import RunFailed
from vesalius.data.formats.dicom.reading import read_whole

IN_PROCESS = ("pydicom", "pillow")
ISOLATED = ("pyjpegls", "pylibjpeg", "gdcm")
TIMEOUT_SECONDS = 120.0
_VARIABLES = ("PATH", "PYTHON", "LD_", "DYLD_", "CONDA_", "VIRTUAL_ENV", "LANG", "LC_", "OMP_", "COVERAGE_")
_REPLY_BYTES = 2**16  # of a line of JSON
WORKER_FILE = Path(__file__).with_name("native_worker.py")


class CannotDecode(Exception):
    """The pixels cannot be decoded: the reason, in a decoder's words."""


class BadReply(Exception):
    """The process of a decoder has crashed, or what it wrote are no pixels of this image."""


class _Killed(Exception):
    """The process of a decoder was killed from outside."""


class NoDecoder(Exception):
    """No decoder for this transfer syntax is installed."""


class _Worker:
    """A process with decoders; it serves one caller at a time."""

    def __init__(self) -> None:
        self._timed_out = False
        command = [sys.executable, "-P", str(WORKER_FILE)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
        )
        self.owner = os.getpid()

    def send(self, request: dict[str, Any], compressed: bytes, count: int) -> np.ndarray:
        """The pixels that a request asks for.

        Args:
            request: see `native_worker`.
            compressed: the bytes that follow it.
            count: values that the header promises.

        Raises:
            CannotDecode: if the decoder refuses them.
            BadReply: for a reply without pixels of that size.
            OSError: if the process crashes or takes too long.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        watch = threading.Timer(TIMEOUT_SECONDS, self._time_out)
        watch.daemon = True
        watch.start()
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.write(compressed)
            stdin.flush()
            return _read_reply(stdout, count)
        finally:
            watch.cancel()

    def _time_out(self) -> None:
        self._timed_out = True
        self._process.kill()

    @property
    def was_killed(self) -> bool:
        """Whether somebody else has killed the process, as Linux does when memory runs out."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)  # it may just be ending
        return self._process.returncode == -signal.SIGKILL and not self._timed_out

    def stop(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        self._process.kill()
        self._process.wait()


def _read_reply(stream: IO[bytes], count: int) -> np.ndarray:
    """Pixels from a process that damaged data may have taken over: at worst they are wrong."""
    try:
        reply = json.loads(stream.readline(_REPLY_BYTES))
        if "reason" in reply:
            raise CannotDecode(_last_line("".join(filter(str.isprintable, str(reply["reason"]).replace("\n", " ")))))
        kind, shape = np.dtype(str(reply["type"])), tuple(int(side) for side in reply["shape"])
    except (ValueError, TypeError, KeyError) as error:
        raise BadReply from error
    if kind.kind not in "iuf" or min(shape, default=0) < 1 or math.prod(shape) != count:
        raise BadReply
    content = stream.read(count * kind.itemsize)
    if len(content) < count * kind.itemsize:
        raise BadReply
    return np.frombuffer(content, kind).reshape(shape).copy()


def _environment() -> dict[str, str]:
    """What the process needs to start, without keys and passwords."""
    return {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}


_idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()


def stored_pixels(source: Path | Dataset, header: Dataset, number: int | None) -> np.ndarray:
    """Pixels as pydicom returns them: as stored, except that YBR has become RGB.

    Args:
        source: the file, or all of it in memory.
        header: of the file.
        number: of the frame, from 0; None for all.

    Returns:
        (H, W) or (H, W, samples), with the frames in front if there are several and `number` is None.

    Raises:
        CannotDecode: if every decoder fails.
        NoDecoder: if none is installed.
    """
    syntax = header.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise NoDecoder from None
    if not decoder.is_encapsulated:
        return _decode_here(source, number, "")
    available = [name for name in (*IN_PROCESS, *ISOLATED) if name in decoder.available_plugins]
    if not available:
        raise NoDecoder
    reasons = []
    for plugin in available:
        try:
            decode = _decode_here if plugin in IN_PROCESS else _decode_isolated
            return decode(source, number, plugin)
        except CannotDecode as error:
            reasons.append(str(error))
    raise CannotDecode("; ".join(dict.fromkeys(reasons)))


def _decode_here(source: Path | Dataset, number: int | None, plugin: str) -> np.ndarray:
    try:
        pixels: np.ndarray = pixel_array(source, index=number, decoding_plugin=plugin)
        return pixels
    except MemoryError:
        raise
    except Exception as error:  # damaged pixels can make a decoder raise nearly anything
        raise CannotDecode(_last_line(str(error)) or type(error).__name__) from error


def _decode_isolated(source: Path | Dataset, number: int | None, plugin: str) -> np.ndarray:
    dataset = source if isinstance(source, Dataset) else read_whole(source)
    try:
        compressed, options = _request(dataset, number)
        offsets = options.pop("extended_offsets", None)
        request = {
            "syntax": str(dataset.file_meta.TransferSyntaxUID),
            "plugin": plugin,
            "options": options,
            "offsets": None if offsets is None else [bytes(part).hex() for part in offsets],
            "size": len(compressed),
        }
        sides = ("rows", "columns", "samples_per_pixel", "number_of_frames")
        count = math.prod(int(options[side]) for side in sides)
        request["bytes"] = count * -(-int(options["bits_allocated"]) // 8)
        json.dumps(request)  # a damaged header may hold what is no number
    except Exception as error:  # damaged pixels can make the parser raise nearly anything
        raise CannotDecode(_last_line(str(error)) or type(error).__name__) from error
    for _ in range(2):  # who kills it may have meant something else
        with contextlib.suppress(_Killed):
            return _sent(request, compressed, count)
    raise RunFailed(
        f"The process of the decoder {plugin} was killed, and again at the second try, likely for lack of memory: free "
        "some, then start the command again."
    )


def _sent(request: dict[str, Any], compressed: bytes, count: int) -> np.ndarray:
    """The pixels from an idle worker, which is idle again afterwards or gone."""
    worker = _idle_worker()
    try:
        pixels = worker.send(request, compressed, count)
    except (BadReply, OSError) as error:
        if worker.was_killed:
            worker.stop()
            raise _Killed from error
        worker.stop()
        raise CannotDecode(f"{request['plugin']} crashes on them or does not end") from error
    except CannotDecode:
        _idle.put(worker)
        raise
    except BaseException:  # such as Ctrl-C in the middle of a reply
        worker.stop()
        raise
    _idle.put(worker)
    return pixels


def _request(dataset: Dataset, number: int | None) -> tuple[bytes, dict[str, Any]]:
    """The compressed pixels of one frame or of all, and pydicom's options for decoding them."""
    options = {**as_pixel_options(dataset), "pixel_keyword": "PixelData"}
    offsets = options.pop("extended_offsets", None)
    if number is None:
        return dataset.PixelData, {**options, **({"extended_offsets": offsets} if offsets else {})}
    frame = get_frame(dataset.PixelData, number, number_of_frames=options["number_of_frames"], extended_offsets=offsets)
    return encapsulate([frame]), {**options, "number_of_frames": 1, "index": 0}


def _idle_worker() -> _Worker:
    while True:
        try:
            worker = _idle.get_nowait()
        except queue.Empty:
            return _Worker()
        if worker.owner == os.getpid():  # otherwise this is a forked copy, and the worker belongs to its parent
            return worker


@atexit.register
def stop_workers() -> None:
    """End the processes that are idle."""
    with contextlib.suppress(queue.Empty):
        while True:
            worker = _idle.get_nowait()
            if worker.owner == os.getpid():
                worker.stop()


def _last_line(text: str) -> str:
    """The last line, where pydicom puts the decoder's own words."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
