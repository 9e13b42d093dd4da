"""Small networks for image series, batches of random series for them, and the same with longer padding."""

from functools import partial

import torch
from torch import nn

from vesalius.models.nets.residual import SmallResNet


def make_net(kind, *, seed=0, **options):
    """A net of `kind` for series of one channel and up to 9 frames: 3 outputs, weights of `seed`."""
    torch.manual_seed(seed)
    usual = {
        "encoder": partial(SmallResNet, widths=[4, 8], blocks=1),
        "input_size": 8,
        "hidden_size": 12,
        "time_inputs": ["delta", "elapsed"],
    }
    net = kind(1, 3, 2.0, 9, **(usual | options)).eval()
    nn.init.normal_(net.encoder.layers[0][0].residual[4].weight)  # it starts at zero
    return net


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
