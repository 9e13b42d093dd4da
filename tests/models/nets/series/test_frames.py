import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from vesalius.models.nets.residual import SmallResNet
from vesalius.models.nets.series.frames import encode_frames

# Peaks of a process's own memory over a training step, in MiB, past what the libraries take: one for each pair of
# numbers, of frames and of those of a chunk, each in a fork.
MEASURE = """
import os, sys, torch
from functools import partial
from vesalius.models.nets.series.recurrent import RecurrentNet
from vesalius.models.nets.residual import SmallResNet
torch.set_num_threads(1)
def peak():  # that of a fork begins with what is resident
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
net = RecurrentNet(1, 3, 1.0, 9, encoder=partial(SmallResNet, widths=[16, 32]), chunk_frames=2)
def step(frames):
    image, mask = torch.rand(1, frames, 1, 64, 64), torch.ones(1, frames, dtype=torch.bool)
    net(image, mask, torch.zeros(1, frames)).sum().backward()
step(4)  # libraries are loaded
for frames, chunk in zip(*[iter(map(int, sys.argv[1:]))] * 2):
    if os.fork() == 0:
        net.chunk_frames = chunk or None
        before = peak()
        step(frames)
        print((peak() - before) / 1024, flush=True)
        os._exit(0)
    os.wait()
"""


def make_encoder():
    torch.manual_seed(0)
    return SmallResNet(1, 4, widths=[4, 8])


def peaks(*frames_and_chunks):
    command = [sys.executable, "-c", MEASURE, *map(str, frames_and_chunks)]
    # Every tensor in pages of its own, given back when it is freed: what is resident is then what is alive.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    return map(float, run.stdout.split())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_peak_memory_hardly_grows_with_the_number_of_frames():
    few, many, unchunked = peaks(32, 16, 128, 16, 128, 0)
    print(f"a step at T = 32: {few:.0f} MiB, at 128: {many:.0f} MiB, without chunks: {unchunked:.0f} MiB")
    assert many < 1.3 * few
    assert unchunked > 2 * many  # what chunks are for


@pytest.mark.parametrize("count", [1, 7, 8, 9, 20])
def test_chunks_give_what_the_whole_gives(count):
    encoder, frames = make_encoder().eval(), torch.randn(count, 1, 16, 16)
    torch.testing.assert_close(encode_frames(encoder, frames, 8), encoder(frames))


def test_gradients_of_chunks_are_those_of_the_whole():
    frames = torch.randn(20, 1, 16, 16)
    gradients = []
    for chunk in (None, 8):
        encoder = make_encoder().eval()
        encode_frames(encoder, frames, chunk).square().sum().backward()
        gradients.append([parameter.grad for parameter in encoder.parameters()])
    for whole, chunked in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, chunked, atol=1e-4, rtol=1e-4)


def test_computing_a_chunk_again_does_not_count_it_twice():
    frames, one, other = torch.randn(20, 1, 16, 16), make_encoder(), make_encoder()
    for chunk in frames.tensor_split(3):
        one(chunk)
    encode_frames(other, frames, 8).square().sum().backward()
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    assert all(part.momentum == 0.1 for part in other.modules() if isinstance(part, nn.BatchNorm2d))


def test_dropout_in_the_encoder_is_drawn_once_a_chunk():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False), nn.Dropout(0.5))
    out = encode_frames(encoder, torch.ones(40, 1, 2, 2), 8)
    kept = int((out != 0).sum())
    out.sum().backward()
    torch.testing.assert_close(encoder[1].weight.grad, torch.full((1, 4), 2.0 * kept))


def test_a_frozen_encoder_keeps_nothing():
    encoder = make_encoder().requires_grad_(False)
    assert encode_frames(encoder, torch.randn(20, 1, 16, 16), 8).grad_fn is None
