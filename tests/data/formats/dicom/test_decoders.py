"""Decoders that may crash run in processes of their own, and crash nothing else."""

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import JPEGLSLossless

from dicom_maker import write_cine, write_image
from vesalius.config.errors import InputError, RunFailed
from vesalius.data.formats.dicom import decoders
from vesalius.data.formats.dicom.decode import decode_file

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
LOSSLESS = TEST_FILES / "SC_rgb_jpeg_gdcm.dcm"  # which only GDCM can read


def _damaged(path: Path, seed: int, to: Path) -> Path:
    """The file with three bytes of its compressed pixels' header changed, which may make GDCM abort."""
    dataset, chance = pydicom.dcmread(path), random.Random(seed)
    frame = bytearray(get_frame(dataset.PixelData, 0, number_of_frames=1))
    for _ in range(3):
        frame[chance.randrange(2, 200)] = chance.randrange(256)
    dataset.PixelData = encapsulate([bytes(frame)])
    dataset.save_as(to)
    return to


@pytest.mark.parametrize("path", [LOSSLESS, TEST_FILES / "MR_small_jpeg_ls_lossless.dcm"], ids=lambda path: path.name)
def test_a_decoder_that_crashes_takes_nothing_with_it(tmp_path, path):
    good = decode_file(path)
    crashed = 0
    for seed in range(40):
        try:
            decode_file(_damaged(path, seed, tmp_path / "damaged"), "it")
        except InputError as refused:
            crashed += "crashes" in str(refused)
        else:
            continue
    assert np.array_equal(decode_file(path), good)
    assert crashed or path != LOSSLESS  # otherwise this test proves nothing


def test_a_decoder_that_does_not_end_is_ended(tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text("import time; time.sleep(60)")
    decoders.stop_workers()
    monkeypatch.setattr(decoders, "WORKER_FILE", worker)
    monkeypatch.setattr(decoders, "TIMEOUT_SECONDS", 0.3)
    started = time.monotonic()
    with pytest.raises(InputError, match="does not end"):
        decode_file(LOSSLESS)
    assert time.monotonic() - started < 10


KILLED = """
import os, pathlib, runpy, signal, sys
tries = pathlib.Path({tries!r})
tries.write_text(tries.read_text() + "x")
if len(tries.read_text()) <= {times}:
    sys.stdin.buffer.readline()
    os.kill(os.getpid(), signal.SIGKILL)
runpy.run_path({worker!r}, run_name="__main__")
"""


@pytest.mark.parametrize("times", [1, 2])
def test_a_decoder_that_was_killed_is_no_fault_of_the_image(tmp_path, monkeypatch, times):
    good, tries, worker = decode_file(LOSSLESS), tmp_path / "tries", tmp_path / "worker.py"
    tries.write_text("")
    worker.write_text(KILLED.format(tries=str(tries), times=times, worker=str(decoders.WORKER_FILE)))
    decoders.stop_workers()
    monkeypatch.setattr(decoders, "WORKER_FILE", worker)
    if times == 1:
        assert np.array_equal(decode_file(LOSSLESS), good)
    else:
        with pytest.raises(RunFailed, match=r"was killed.*lack of memory: free some"):  # no InputError, which skips it
            decode_file(LOSSLESS)
    assert tries.read_text() == "xx"
    decoders.stop_workers()


@pytest.mark.slow
def test_a_fork_of_a_process_whose_threads_decode_can_decode(tmp_path):
    image = np.random.default_rng(0).integers(0, 2**16, (40, 30)).astype(np.uint16)
    path, over = write_image(tmp_path / "image", image, transfer_syntax=JPEGLSLossless), threading.Event()

    def decode_on():
        while not over.is_set():
            decode_file(path)

    with ThreadPoolExecutor(2) as pool:
        threads = [pool.submit(decode_on) for _ in range(2)]
        try:
            for _ in range(3):
                child = os.fork()
                if child == 0:
                    signal.alarm(30)
                    os._exit(int(not np.array_equal(decode_file(path)[0, 0], image)))
                assert os.waitpid(child, 0)[1] == 0
        finally:
            over.set()
        for thread in threads:
            thread.result()  # of the parent, whose decoders the children have left alone


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"no json\n",
        b"[]\n",
        b'{"type": "|O", "shape": [100, 100, 3]}\n' + b"0" * 30_000,
        b'{"type": "|u1", "shape": [1000000, 1000000, 1000000]}\n',
        b'{"type": "|u1", "shape": [-100, -100, 3]}\n' + b"0" * 30_000,
        b'{"type": "|u1", "shape": [100, 100, 3]}\n' + b"0" * 10,
        pickle.dumps((True, np.zeros(3))),
    ],
)
def test_a_process_that_was_taken_over_can_send_nothing_but_pixels(tmp_path, monkeypatch, reply):
    """An array of the size that the header promises, or it is refused; no reply is unpickled."""
    worker = tmp_path / "worker.py"
    worker.write_text(f"import sys; sys.stdin.buffer.readline(); sys.stdout.buffer.write({reply!r})")
    decoders.stop_workers()
    monkeypatch.setattr(decoders, "WORKER_FILE", worker)
    with pytest.raises(InputError, match="crashes on them or does not end"):
        decode_file(LOSSLESS)
    assert (
        "pickle"
        not in Path(decoders.__file__).read_text() + (Path(decoders.__file__).parent / "native_worker.py").read_text()
    )


def test_pixels_pass_unchanged_from_many_threads(tmp_path):
    images = np.random.default_rng(0).integers(0, 2**16, (6, 40, 30)).astype(np.uint16)
    paths = [
        write_image(tmp_path / str(number), image, transfer_syntax=JPEGLSLossless)
        for number, image in enumerate(images)
    ]
    with ThreadPoolExecutor(3) as pool:
        for number, decoded in enumerate(pool.map(decode_file, paths * 5)):
            assert np.array_equal(decoded[0, 0], images[number % 6])
    assert threading.active_count() < 20


def test_single_frames_are_sent_by_themselves(tmp_path):
    frames = np.arange(5 * 16 * 16, dtype=np.uint16).reshape(5, 16, 16)
    path = write_cine(tmp_path / "film", frames, transfer_syntax=JPEGLSLossless)
    assert np.array_equal(decode_file(path)[:, 0], frames)
    assert np.array_equal(decode_file(path, frames=[4, 2])[:, 0], frames[[4, 2]])


def test_the_process_of_the_decoders_imports_nothing_of_the_package():
    assert "vesalius" not in decoders.WORKER_FILE.read_text()


PROBE = """
import json, runpy, resource, sys
limit = runpy.run_path(sys.argv[1], run_name="worker")["limit"]
limit(1000)
found = {}
try:
    bytearray(2**31)
except MemoryError:
    found["memory"] = True
try:
    with open(sys.argv[2], "wb") as file:
        file.write(b"x" * 100)
except OSError:
    found["file"] = True
try:
    held = [open(sys.argv[1]) for _ in range(200)]
except OSError:
    found["handles"] = True
    held = None
found["seconds"] = resource.getrlimit(resource.RLIMIT_CPU)[0]
found["core"] = resource.getrlimit(resource.RLIMIT_CORE)
limit(2**29)
found["large"] = len(bytearray(2**31))
print(json.dumps(found))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have other limits")
def test_a_decoder_has_memory_for_its_pixels_some_seconds_and_no_files(tmp_path):
    """Memory grows with the pixels that a request is for, so that a header cannot ask for more than it states."""
    command = [sys.executable, "-c", PROBE, str(decoders.WORKER_FILE), str(tmp_path / "written")]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found.pop("seconds") <= 121
    assert found.pop("core") == [0, 0]
    assert found == {"memory": True, "file": True, "handles": True, "large": 2**31}
    assert (tmp_path / "written").stat().st_size == 0


def test_a_decoder_knows_no_secret(tmp_path, monkeypatch):
    """Taken over, it can lie about pixels, and has nothing to tell."""
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, os, sys; sys.stdin.buffer.readline()\n"
        "print(json.dumps({'reason': ' '.join(sorted(os.environ)) + chr(27) + '[31m'}), flush=True)"
    )
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    monkeypatch.setattr(decoders, "WORKER_FILE", worker)
    decoders.stop_workers()
    with pytest.raises(InputError, match="PATH") as refused:
        decode_file(LOSSLESS)
    decoders.stop_workers()
    assert "WANDB" not in str(refused.value)
    assert "\x1b" not in str(refused.value)
