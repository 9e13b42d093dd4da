"""Which decoder reads compressed pixels, and where it runs.

pydicom's own decoders and Pillow withstand damaged data and run in this process. GDCM, CharLS (pyjpegls) and OpenJPEG
(pylibjpeg) abort on some of it, which would end a whole training run; they run in a process of their own, which is
started when first needed.
"""

import atexit
import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import as_pixel_options, pixel_array

from vesalius.data.formats.dicom.reading import read_whole

IN_PROCESS = ("pydicom", "pillow")
ISOLATED = ("pyjpegls", "pylibjpeg", "gdcm")
_SECONDS = 120.0
_WORKER = Path(__file__).with_name("native_worker.py")


class CannotDecode(Exception):
    """Why: in a decoder's words."""


class NoDecoder(Exception):
    """No decoder for this transfer syntax is installed."""


class _Worker:
    """One such process; it serves one caller at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", str(_WORKER)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.owner = os.getpid()

    def ask(self, request: tuple[Any, ...]) -> tuple[bool, Any]:
        """Raises EOFError or OSError where the process ends instead of answering, or takes too long."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        watch = threading.Timer(_SECONDS, self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            pickle.dump(request, stdin, protocol=pickle.HIGHEST_PROTOCOL)
            stdin.flush()
            succeeded, answer = pickle.load(stdout)
            return bool(succeeded), answer
        finally:
            watch.cancel()

    def stop(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        self._process.kill()
        self._process.wait()


_idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()


def stored_pixels(source: Path | Dataset, header: Dataset, number: int | None) -> np.ndarray:
    """Pixels as pydicom gives them: as stored, except that YBR has become RGB.

    Args:
        source: the file, or all of it in memory.
        header: of the file.
        number: of the frame wanted, from 0; None for all.

    Returns:
        (H, W) or (H, W, samples), with the frames in front if there are several and all are wanted.

    Raises:
        CannotDecode: if no decoder can.
        NoDecoder: if there is none.
    """
    syntax = header.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise NoDecoder from None
    if not decoder.is_encapsulated:
        return _in_process(source, number, "")
    available = [name for name in (*IN_PROCESS, *ISOLATED) if name in decoder.available_plugins]
    if not available:
        raise NoDecoder
    reasons = []
    for plugin in available:
        try:
            decode = _in_process if plugin in IN_PROCESS else _isolated
            return decode(source, number, plugin)
        except CannotDecode as error:
            reasons.append(str(error))
    raise CannotDecode("; ".join(dict.fromkeys(reasons)))


def _in_process(source: Path | Dataset, number: int | None, plugin: str) -> np.ndarray:
    try:
        pixels: np.ndarray = pixel_array(source, index=number, decoding_plugin=plugin)
        return pixels
    except MemoryError:
        raise
    except Exception as error:  # damaged pixels can make a decoder raise nearly anything
        raise CannotDecode(_words(str(error)) or type(error).__name__) from error


def _isolated(source: Path | Dataset, number: int | None, plugin: str) -> np.ndarray:
    dataset = source if isinstance(source, Dataset) else read_whole(source)
    try:
        request = (str(dataset.file_meta.TransferSyntaxUID), plugin, *_request(dataset, number))
    except Exception as error:  # damaged pixels can make the parser raise nearly anything
        raise CannotDecode(_words(str(error)) or type(error).__name__) from error
    worker = _borrow()
    try:
        succeeded, answer = worker.ask(request)
    except (EOFError, OSError, pickle.UnpicklingError) as error:
        worker.stop()
        raise CannotDecode(f"{plugin} crashes on them or does not end") from error
    except BaseException:  # such as Ctrl-C in the middle of an answer
        worker.stop()
        raise
    _idle.put(worker)
    if not succeeded:
        raise CannotDecode(_words(answer))
    pixels: np.ndarray = answer
    return pixels


def _request(dataset: Dataset, number: int | None) -> tuple[bytes, dict[str, Any]]:
    """Compressed pixels, of one frame if only that is wanted, and what pydicom needs to know of them."""
    options = {**as_pixel_options(dataset), "pixel_keyword": "PixelData"}
    offsets = options.pop("extended_offsets", None)
    if number is None:
        return dataset.PixelData, {**options, **({"extended_offsets": offsets} if offsets else {})}
    frame = get_frame(dataset.PixelData, number, number_of_frames=options["number_of_frames"], extended_offsets=offsets)
    return encapsulate([frame]), {**options, "number_of_frames": 1, "index": 0}


def _borrow() -> _Worker:
    while True:
        try:
            worker = _idle.get_nowait()
        except queue.Empty:
            return _Worker()
        if worker.owner == os.getpid():  # else this is a forked copy, and the worker is its parent's
            return worker


@atexit.register
def stop_workers() -> None:
    """End the processes that wait for work."""
    with contextlib.suppress(queue.Empty):
        while True:
            worker = _idle.get_nowait()
            if worker.owner == os.getpid():
                worker.stop()


def _words(text: str) -> str:
    """The last line, which pydicom gives to the decoder's own words."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
