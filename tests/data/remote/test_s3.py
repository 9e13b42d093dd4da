"""Images in a bucket of an S3 that runs on this machine and checks keys."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("obstore", reason="pip install 'vesalius[remote]'")

from identity_scan import find_identities
from local_s3 import can_run_s3, running_s3
from vesalius.config.errors import InputError
from vesalius.data.remote.mirror import local_folder
from vesalius.data.sources import ImageFolder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("s3"),
    pytest.mark.skipif(not can_run_s3(), reason="make .moto/bin/moto_server"),
]
BUILD = """
import resource, sys
from vesalius.data.remote.mirror import local_folder
local_folder(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # in kB
"""


def images(count, size=8):
    """`count` images in two classes, each another."""
    files = {}
    for number in range(count):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(number).integers(0, 120, (size, size), dtype=np.uint8) + 100 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(buffer, "png")
        files[f"set/{'ab'[number % 2]}/{number:05d}.png"] = buffer.getvalue()
    return files


@pytest.fixture(scope="module")
def s3():
    with running_s3("scans", "many", "large") as server:
        server.put("scans", images(40, size=28))
        yield server


@pytest.fixture(autouse=True)
def cache(s3, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VESALIUS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def copies(cache):
    """When each copy was written."""
    return {path.name: path.stat().st_mtime_ns for path in cache.glob("remote/s3-many/files/**/*.png")}


def test_a_bucket_is_read_as_a_folder_and_a_change_of_one_image_is_noticed(s3, cache, tmp_path):
    files = images(40, size=28)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    source, local = ImageFolder("s3://scans/set"), ImageFolder(str(tmp_path / "set"))
    assert source.samples().equals(local.samples())
    assert source.fingerprint() == local.fingerprint()
    first = "set/a/00000.png"
    changed = files[first][:-1] + bytes([files[first][-1] ^ 1])  # of the same size
    s3.put("scans", {first: changed})
    assert ImageFolder("s3://scans/set").fingerprint() != local.fingerprint()
    s3.put("scans", {first: files[first]})
    assert ImageFolder("s3://scans/set").fingerprint() == local.fingerprint()


@pytest.mark.parametrize(
    ("address", "change", "message"),
    [
        ("s3://nowhere/set", {}, "s3://nowhere/set does not exist"),
        ("s3://scans/nothing", {}, "s3://scans/nothing holds no file"),
        ("s3://scans/set", {"AWS_SECRET_ACCESS_KEY": "wrong" * 8}, "access to s3://scans/set was denied"),
        ("s3://scans/set", {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "AWS_ACCESS_KEY_ID"),
        ("s3://scans/set", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "start again"),
    ],
)
def test_each_fault_is_one_message_without_a_key(s3, monkeypatch, address, change, message):
    for name, value in change.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message) as caught:
        ImageFolder(address)
    (problem,) = caught.value.problems
    assert s3.environment["AWS_SECRET_ACCESS_KEY"] not in problem
    assert "\n" not in problem


def test_the_keys_of_a_profile_are_used(s3, monkeypatch, tmp_path):
    lines = ["[lab]", *(f"{name.lower()} = {os.environ.pop(name)}" for name in list(s3.environment)[1:3])]
    (tmp_path / "credentials").write_text("\n".join(lines))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert len(ImageFolder("s3://scans/set").samples()) == 40


def test_no_file_of_a_run_holds_the_credentials(s3, cache, warm_vesalius_in, tmp_path):
    train = ["train", "data=image_folder", "data.source.root=s3://scans/set", "model.net.widths=[4]", "trainer=cpu"]
    train += ["trainer.max_epochs=1", "logger=wandb", "data.image_size=16", "hydra.run.dir=run"]
    for command in (train, ["report", "run=run"], ["export", "run=run", "output=bundle"]):
        done = warm_vesalius_in(tmp_path, *command, figures=True)
        assert done.returncode == 0, done.stderr
    secrets = [s3.environment[name] for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")]
    assert find_identities(tmp_path, secrets) == []
    assert list(cache.glob("remote/s3-scans/files/set/a/*.png"))
    named = {Path(leak.file).name for leak in find_identities(tmp_path / "run", ["scans/set"])}
    assert named <= {"config.yaml", "overrides.yaml"}


def begin(address="s3://many/set"):
    return subprocess.Popen([sys.executable, "-c", BUILD, address], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.proof)])
def test_a_build_that_is_killed_downloads_nothing_twice(s3, cache, count):
    s3.put("many", images(count))
    for kind in (signal.SIGKILL, signal.SIGTERM):
        before = len(copies(cache))
        build = begin()
        while len(copies(cache)) < before + count // 4:
            assert build.poll() is None
            time.sleep(0.01)
        build.send_signal(kind)
        build.communicate()
    stopped = copies(cache)
    assert 0 < len(stopped) < count
    start, build = time.monotonic(), begin()
    peak = int(build.communicate(timeout=600)[0])
    seconds = time.monotonic() - start
    folder = local_folder("s3://many/set")
    again = copies(cache)
    assert len(again) == count
    # A file may have been complete, and not yet recorded, when its process was killed: at most one of each thread.
    assert sum(again[name] != moment for name, moment in stopped.items()) <= 2 * 16
    for name, content in list(images(40).items()):
        assert (folder.parent / name).read_bytes() == content
    print(
        f"{count} images: {len(stopped)} before it was stopped twice, the rest in {seconds:.0f} s, {peak / 1024:.0f} MB"
    )
    start = time.monotonic()
    local_folder("s3://many/set")
    print(f"listed again in {time.monotonic() - start:.1f} s")
    assert copies(cache) == again


def test_a_large_file_is_never_in_memory(s3, cache):
    size = 2**28
    s3.put("large", {"small/x": b"x", "large/x": bytes(size)})
    peaks = [int(begin(f"s3://large/{folder}").communicate(timeout=120)[0]) for folder in ("small", "large")]
    (copy,) = cache.glob("remote/s3-large/files/large/x")
    assert copy.stat().st_size == size
    assert peaks[1] - peaks[0] < size / 4 / 1024


def test_a_server_that_goes_away_in_between_leaves_what_is_complete(cache, monkeypatch):
    with running_s3("many") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.put("many", images(400))
        build = begin()
        while len(copies(cache)) < 50:
            assert build.poll() is None
            time.sleep(0.01)
    _, error = build.communicate(timeout=60)
    assert b"start again; what was downloaded is kept" in error
    assert 50 <= len(copies(cache)) < 400
    assert not list(cache.glob("remote/*/parts/*"))
