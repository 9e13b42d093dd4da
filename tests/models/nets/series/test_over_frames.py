"""Nets that relate frames without a recurrence: attention straight over frames, and a transformer."""

from functools import partial

import pytest
import torch
from torch import nn

from series_batches import make_net, make_series, padded
from vesalius.config.errors import InputError
from vesalius.models.nets.series.attention import AttentionNet
from vesalius.models.nets.series.transformer import TransformerNet, positions

pytestmark = pytest.mark.usefixtures("no_grad")

NETS = [AttentionNet, partial(TransformerNet, pooling="mean"), partial(TransformerNet, pooling="last")]


@pytest.mark.parametrize("kind", NETS)
def test_appended_padding_and_what_stands_in_it_change_nothing(kind):
    net, (image, mask, time) = make_net(kind), make_series()
    outputs = net(image, mask, time)
    assert outputs.std(dim=0).min() > 1e-4  # they do depend on the series
    torch.testing.assert_close(net(*padded(image, mask, time, 5)), outputs, atol=1e-5, rtol=0)
    other = torch.where(mask[:, :, None, None, None], image, 9.0), mask, torch.where(mask, time, 1e4)
    torch.testing.assert_close(net(*other), outputs, atol=1e-5, rtol=0)
    for row, length in enumerate(mask.sum(1).tolist()):  # by itself and unpadded, as in the batch
        single = net(image[row : row + 1, :length], mask[row : row + 1, :length], time[row : row + 1, :length])
        torch.testing.assert_close(single[0], outputs[row], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", NETS)
def test_outputs_over_time_are_those_of_the_cut_series(kind):
    net, (image, mask, time) = make_net(kind), make_series()
    steps = net.forward_steps(image, mask, time)
    for end in range(1, 8):
        cut = net(image[:, :end], mask[:, :end], time[:, :end])
        torch.testing.assert_close(steps[:, end - 1], cut, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "sees"), [(AttentionNet, False), (TransformerNet, True)])
def test_without_time_inputs_only_a_transformer_sees_the_order(kind, sees):
    net, (image, mask, time) = make_net(kind, time_inputs=[]), make_series(ragged=False)
    difference = (net(image, mask, time) - net(image.flip(1), mask, time)).abs().max()
    assert (difference > 1e-4) == sees


@pytest.mark.parametrize("kind", NETS)
def test_seconds_are_seen_where_they_are_inputs(kind):
    image, mask, time = make_series()
    for inputs in (["delta"], ["elapsed"]):
        net = make_net(kind, time_inputs=inputs)
        assert not torch.allclose(net(image, mask, time), net(image, mask, 3 * time))


def test_a_transformer_places_frames_by_their_times():
    net, (image, mask, _) = make_net(TransformerNet, time_inputs=[], pooling="mean"), make_series(ragged=False)
    regular = 2.0 * torch.arange(7.0).expand(len(image), -1)  # a usual step is 2 seconds
    kept = torch.tensor([0, 1, 3, 6])
    whole = net.over_time(net._inputs(net.encode(image, mask), regular), mask, regular / 2)
    assert torch.equal(whole, net.states(image, mask, regular))
    left = torch.zeros_like(mask).index_fill_(1, kept, True)  # the others are there, and not seen
    hidden = net.over_time(net._inputs(net.encode(image, mask), regular), left, regular / 2)[:, kept]
    gone = net.states(image[:, kept], mask[:, kept], regular[:, kept])
    torch.testing.assert_close(gone, hidden, atol=1e-5, rtol=0)
    assert not torch.allclose(net.states(image[:, kept], mask[:, kept], regular[:, :4]), hidden, atol=1e-3)


def test_a_block_is_the_encoder_layer_of_torch():
    block = make_net(TransformerNet).blocks[0]
    oracle = nn.TransformerEncoderLayer(12, 4, 24, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    pairs = {
        "self_attn.in_proj_": block.query_key_value,
        "self_attn.out_proj.": block.attended,
        "linear1.": block.dense[0],
        "linear2.": block.dense[3],
        "norm1.": block.attention_norm,
        "norm2.": block.dense_norm,
    }
    for part in pairs.values():
        nn.init.normal_(part.weight)
        nn.init.normal_(part.bias)
    oracle.load_state_dict(
        {f"{name}{kind}": getattr(part, kind) for name, part in pairs.items() for kind in ("weight", "bias")}
    )
    x, mask = torch.randn(4, 7, 12), make_series()[1]
    expected = oracle.eval()(x, src_key_padding_mask=~mask)
    torch.testing.assert_close(block(x, mask)[mask], expected[mask], atol=1e-4, rtol=1e-4)


def test_positions_differ_from_each_other_by_the_distance_only():
    codes = positions(torch.arange(50.0), 16).double()
    products = codes @ codes.T
    for distance in (0, 1, 7):
        torch.testing.assert_close(
            products.diagonal(distance), products[0, distance].expand(50 - distance), atol=1e-4, rtol=0
        )
    assert products[0, 0] > products[0, 1:].max() + 0.1


@pytest.mark.parametrize("kind", [AttentionNet, TransformerNet])
def test_heads_must_divide_the_state(kind):
    with pytest.raises(InputError, match=r"heads=5: must divide model\.net\.hidden_size=12"):
        make_net(kind, heads=5)
    with pytest.raises(InputError, match="heads=0"):
        make_net(kind, heads=0)
