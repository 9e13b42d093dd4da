"""Random numbers without a state: a pure function of (seed, epoch, sample, stream).

A generator that is advanced by use gives other numbers after a resume, in another process or in another batch. Here
each number is a hash of what it is for, so it depends on none of these. The hash is the finaliser of SplitMix64
(Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), applied twice: the samples of
a stream are the first sequence, and each of them is the seed of the sequence of its own numbers. It needs nothing but
64-bit integer arithmetic that wraps around, so uniform numbers are the same to the bit on every device.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

_GAMMA = -0x61C8864680B583EB  # 2^64 over the golden ratio, as a signed integer
_FIRST = -0x40A7B892E31B1A47  # the two multipliers of SplitMix64, as signed integers
_SECOND = -0x6B2FB644ECCEEE15
_MANTISSA = 24  # a float32 holds every multiple of 2^-24 below 1


def uniform(seed: int, epoch: int, index: Tensor, stream: int | str, count: int = 1) -> Tensor:
    """Numbers in [0, 1), multiples of 2^-24.

    Args:
        seed: of the run; any integer.
        epoch: of the run; any integer.
        index: (B,) int64, which sample each row is for.
        stream: what the numbers are for; streams are independent of each other.
        count: how many numbers a sample gets. The first ones do not depend on it.

    Returns:
        (B, count) float32 on the device of `index`.
    """
    keys, counters = _stream_constants(seed, epoch, ((stream, count),), index.device)
    return _to_unit(_hash(keys[:1], counters, index) >> (64 - _MANTISSA))


def uniforms(seed: int, epoch: int, index: Tensor, streams: Mapping[str, int]) -> dict[str, Tensor]:
    """`uniform` for several small streams at once, at the price of one.

    Args:
        seed: of the run.
        epoch: of the run.
        index: (B,) int64.
        streams: name of each stream -> count.

    Returns:
        name of each stream -> (B, count), the same as `uniform` gives.
    """
    keys, counters = _stream_constants(seed, epoch, tuple(streams.items()), index.device)
    numbers = _to_unit(_hash(keys, counters, index) >> (64 - _MANTISSA))
    return dict(zip(streams, torch.split(numbers, list(streams.values()), dim=1), strict=True))


def normal(seed: int, epoch: int, index: Tensor, stream: int | str, count: int = 1) -> Tensor:
    """Standard normal numbers, (B, count) float32, by the transform of Box and Muller (1958).

    Arguments as in `uniform`. Devices agree up to the rounding of their logarithm and cosine; no number is beyond
    5.8 standard deviations, as one of 2^24 equally likely radii is the largest.
    """
    half = (count + 1) // 2
    keys, counters = _stream_constants(seed, epoch, ((stream, half),), index.device)
    bits = _hash(keys[:1], counters, index)
    # One hash has enough bits for both uniform numbers that a pair of normal ones needs.
    radius = _to_unit(bits >> (64 - _MANTISSA)).neg_().add_(1.0).log_().mul_(-2.0).sqrt_()
    angle = _to_unit(bits).mul_(2.0 * math.pi)
    pairs = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1)
    return pairs.flatten(1)[:, :count]


def generator(seed: int, epoch: int, stream: int | str) -> torch.Generator:
    """A fresh CPU generator for draws that cannot be done sample by sample, such as a permutation.

    Its seed is a hash, so (seed 0, epoch 1) and (seed 1, epoch 0) have nothing in common.
    """
    return torch.Generator().manual_seed(stream_key(seed, epoch, stream))


def stream_key(seed: int, epoch: int, stream: int | str) -> int:
    """A signed 64-bit number for each (seed, epoch, stream); the integer 1 and the text "1" are two streams."""
    name = repr((int(seed), int(epoch), stream if isinstance(stream, str) else int(stream)))
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


@lru_cache(maxsize=64)
def _stream_constants(
    seed: int, epoch: int, streams: tuple[tuple[int | str, int], ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Key and counter of each number that a sample gets, both (numbers,) int64.

    A key is one step ahead, since sample 0 takes the first number of its stream, not the seed itself. Cached, because
    they change once per epoch, and copying them to a GPU at every step would make the step wait.
    """
    keys = [stream_key(seed, epoch, stream) for stream, count in streams for _ in range(count)]
    counters = torch.cat([torch.arange(1, count + 1) for _, count in streams]) if streams else torch.empty(0)
    return torch.tensor(keys, dtype=torch.int64, device=device) + _GAMMA, counters.to(device, torch.int64) * _GAMMA


def _hash(keys: Tensor, counters: Tensor, index: Tensor) -> Tensor:
    if index.device.type == "cpu":  # numpy has unsigned integers, and starts a small operation in a third of the time
        return hash_numpy(keys, counters, index)
    return hash_torch(keys, counters, index)


def hash_torch(keys: Tensor, counters: Tensor, index: Tensor) -> Tensor:
    """64 random bits for each sample and counter, on any device; arguments and result as of `hash_numpy`."""
    samples = _mix(torch.add(keys, index.to(torch.int64)[:, None], alpha=_GAMMA))
    return _mix(samples + counters)


def hash_numpy(keys: Tensor, counters: Tensor, index: Tensor) -> Tensor:
    """64 random bits for each sample and counter, on the CPU.

    Args:
        keys: (counters,) or (1,) int64, one step ahead of the stream's key.
        counters: (counters,) int64 multiples of the step.
        index: (B,) int64.

    Returns:
        (B, counters) int64.
    """
    first, step = keys.numpy().view(np.uint64), counters.numpy().view(np.uint64)
    samples = index.numpy().astype(np.uint64)[:, None] * np.uint64(_GAMMA % 2**64) + first
    words = _mix_words(samples) + step
    return torch.from_numpy(_mix_words(words).view(np.int64))


def _mix_words(words: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser of unsigned integers, in place."""
    words ^= words >> np.uint64(30)
    words *= np.uint64(_FIRST % 2**64)
    words ^= words >> np.uint64(27)
    words *= np.uint64(_SECOND % 2**64)
    words ^= words >> np.uint64(31)
    return words


def _mix(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser of signed integers, in place."""
    bits.bitwise_xor_(_shift_right(bits, 30)).mul_(_FIRST)
    bits.bitwise_xor_(_shift_right(bits, 27)).mul_(_SECOND)
    return bits.bitwise_xor_(_shift_right(bits, 31))


def _shift_right(bits: Tensor, count: int) -> Tensor:
    # The shift of a signed integer drags its sign along; the mask takes it off.
    return (bits >> count).bitwise_and_((1 << (64 - count)) - 1)


def _to_unit(bits: Tensor) -> Tensor:
    """The lowest 24 bits as a fraction in [0, 1)."""
    return (bits & ((1 << _MANTISSA) - 1)).to(torch.float32).mul_(2.0**-_MANTISSA)
