"""Batches of random image series for networks, and the same with longer padding."""

import torch


def make_series(batch=4, frames=7, *, ragged=True, seed=1):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, frames, 1, 16, 16, generator=generator)
    lengths = torch.randint(1, frames + 1, (batch, 1), generator=generator)
    lengths[: 1 if ragged else batch] = frames
    mask = torch.arange(frames) < lengths
    time = torch.rand(batch, frames, generator=generator).cumsum(1)
    return image, mask, time


def padded(image, mask, time, extra):
    image = torch.cat([image, 100 * torch.randn(len(image), extra, *image.shape[2:])], dim=1)
    mask = torch.cat([mask, mask.new_zeros(len(mask), extra)], dim=1)
    return image, mask, torch.cat([time, time[:, -1:].expand(-1, extra)], dim=1)
