from functools import partial

import pytest
import torch
from torch import nn

from series_batches import make_net, make_series, padded
from vesalius.config.errors import InputError
from vesalius.models.nets.series.recurrent import RecurrentNet

pytestmark = pytest.mark.usefixtures("no_grad")

CELLS = ["lstm", "gru", "rnn"]
POOLINGS = ["last", "mean", "attention"]
make_recurrent = partial(make_net, RecurrentNet, layers=2)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_appended_padding_and_what_stands_in_it_change_nothing(cell, bidirectional, pooling):
    net = make_recurrent(cell=cell, bidirectional=bidirectional, pooling=pooling)
    image, mask, time = make_series()
    outputs = net(image, mask, time)
    assert outputs.std(dim=0).min() > 1e-4  # they do depend on the series
    torch.testing.assert_close(net(*padded(image, mask, time, 5)), outputs, atol=1e-5, rtol=0)
    other = torch.where(mask[:, :, None, None, None], image, 9.0), mask, torch.where(mask, time, 1e4)
    torch.testing.assert_close(net(*other), outputs, atol=1e-5, rtol=0)
    for row, length in enumerate(mask.sum(1).tolist()):  # alone and unpadded, as in the batch
        alone = net(image[row : row + 1, :length], mask[row : row + 1, :length], time[row : row + 1, :length])
        torch.testing.assert_close(alone[0], outputs[row], atol=1e-5, rtol=0)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_order_of_samples_does_not_matter(bidirectional):
    net = make_recurrent(bidirectional=bidirectional)
    series, order = make_series(), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(net(*(part[order] for part in series)), net(*series)[order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", CELLS)
def test_early_outputs_of_a_causal_net_do_not_know_later_frames(cell, pooling):
    net = make_recurrent(cell=cell, pooling=pooling)
    assert net.causal
    image, mask, time = make_series(ragged=False)
    changed, later = image.clone(), time.clone()
    changed[:, 4:] += torch.randn_like(changed[:, 4:])
    later[:, 4:] += 3
    before, after = net.forward_steps(image, mask, time), net.forward_steps(changed, mask, later)
    torch.testing.assert_close(before[:, :4], after[:, :4], atol=1e-6, rtol=0)
    assert (before[:, 4:] - after[:, 4:]).abs().amin(dim=(1, 2)).max() > 0
    assert torch.equal(net.states(image, mask, time)[:, :4], net.states(changed, mask, later)[:, :4])


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_outputs_over_time_are_those_of_the_cut_series(bidirectional, pooling):
    net = make_recurrent(bidirectional=bidirectional, pooling=pooling)
    image, mask, time = make_series()
    steps = net.forward_steps(image, mask, time)
    assert steps.shape == (4, 7, 3)
    for end in range(1, 8):
        cut = net(image[:, :end], mask[:, :end], time[:, :end])
        torch.testing.assert_close(steps[:, end - 1], cut, atol=1e-5, rtol=0)


@pytest.mark.parametrize("frames", [1, 500])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_series_of_one_frame_and_one_of_500(frames, bidirectional):
    net = make_recurrent(bidirectional=bidirectional, chunk_frames=64)
    outputs = net(*make_series(2, frames, ragged=False))
    assert outputs.shape == (2, 3)
    assert outputs.isfinite().all()


@pytest.mark.parametrize(("name", "sees"), [("delta", True), ("elapsed", True), (None, False)])
def test_time_is_seen_where_it_is_an_input(name, sees):
    net = make_recurrent(time_inputs=[name] if name else [])
    image, mask, time = make_series()
    assert torch.equal(net(image, mask, time), net(image, mask, 3 * time)) != sees


def test_time_inputs_are_on_the_scale_of_the_data():
    net, seen = make_recurrent(normalize=True), []
    net.recurrence.register_forward_pre_hook(lambda recurrence, arguments: seen.append(arguments[0]))
    image, mask, _ = make_series(2, 9, ragged=False)
    net(image, mask, 2.0 * torch.arange(9.0).expand(2, -1))  # as the data: 2 s apart, 9 frames
    (inputs,) = seen
    torch.testing.assert_close(inputs[0, 1:, -2], torch.full((8,), 2.0).log())
    torch.testing.assert_close(inputs[0, [0, -1], -1], torch.tensor([0.0, 1.0]))
    assert inputs[0, 0, -2] == 0


def test_batch_norm_never_sees_padding_in_training():
    image, mask, time = make_series()
    one, other = make_recurrent().train(), make_recurrent().train()
    one(image, mask, time)
    other(*padded(image, mask, time, 6))
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], msg=name)
    frames = make_recurrent().train()
    frames.encoder(image[mask])
    assert torch.equal(frames.encoder.stem[1].running_mean, one.encoder.stem[1].running_mean)


@pytest.mark.parametrize(
    ("cell", "bidirectional"),
    [
        pytest.param(cell, bidirectional, marks=[] if (cell, bidirectional) == ("rnn", False) else pytest.mark.slow)
        for cell in CELLS
        for bidirectional in (False, True)
    ],
)
def test_an_exported_program_takes_any_batch_and_length_and_equals_the_net(cell, bidirectional, tmp_path):
    net = make_recurrent(cell=cell, bidirectional=bidirectional, pooling="attention" if bidirectional else "last")
    batch, frames = torch.export.Dim("batch", min=1, max=4096), torch.export.Dim("frames", min=1, max=4096)
    program = torch.export.export(net, make_series(3, 5), dynamic_shapes=({0: batch, 1: frames},) * 3)
    torch.export.save(program, tmp_path / "net.pt2")
    module = torch.export.load(tmp_path / "net.pt2").module()
    for size in ((1, 1), (2, 12), (5, 40)):
        series = make_series(*size)
        torch.testing.assert_close(module(*series), net(*series), atol=1e-5, rtol=1e-5)


def test_a_net_of_users_own_is_an_encoder_too():
    own = nn.Sequential(nn.Flatten(), nn.Linear(256, 8))
    net = RecurrentNet(1, 3, 1.0, 5, encoder=own, input_size=8)
    assert net(*make_series()).shape == (4, 3)
    net.check_image(1, 16, 16)
    net.load_pretrained()
    with pytest.raises(InputError, match="Sequential inherit from Net"):
        net.stages()


def test_invalid_options_are_refused_together():
    with pytest.raises(InputError) as caught:
        make_recurrent(hidden_size=0, dropout=1.0, time_inputs=["delta", "delta"])
    for words in ("hidden_size=0", "dropout=1.0", "time_inputs"):
        assert words in str(caught.value)
    with pytest.raises(InputError, match="layers=0"):
        make_recurrent(layers=0)
