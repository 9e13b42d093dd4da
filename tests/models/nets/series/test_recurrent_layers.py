import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from vesalius.models.nets.series.recurrent_layers import CELLS, RecurrentLayers


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_states_are_those_of_torch_over_packed_sequences(cell, bidirectional):
    torch.manual_seed(0)
    ours = RecurrentLayers(cell, 5, 4, layers=2, bidirectional=bidirectional)
    torchs = CELLS[cell](5, 4, num_layers=2, batch_first=True, bidirectional=bidirectional)
    for number, layer in enumerate(ours.onwards):
        for name, weight in layer.named_parameters():
            torchs.get_parameter(name.replace("l0", f"l{number}")).data = weight.data
    for number, layer in enumerate(ours.backwards or []):
        for name, weight in layer.named_parameters():
            torchs.get_parameter(name.replace("l0", f"l{number}_reverse")).data = weight.data
    lengths = torch.tensor([6, 1, 4])
    x, mask = torch.randn(3, 6, 5), torch.arange(6) < lengths[:, None]
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected = pad_packed_sequence(torchs(packed)[0], batch_first=True)[0]
    torch.testing.assert_close(ours(x, mask)[mask], expected[mask])


def test_the_recurrence_runs_in_32_bits_under_autocast():
    layers, x, mask = RecurrentLayers("lstm", 5, 4), torch.randn(2, 3, 5), torch.ones(2, 3, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = layers(x.bfloat16(), mask)
    assert states.dtype == torch.float32
    torch.testing.assert_close(states, layers(x.bfloat16().float(), mask))


def test_dropout_stands_between_layers():
    x, mask = torch.randn(2, 3, 5), torch.ones(2, 3, dtype=torch.bool)
    one, two = (RecurrentLayers("gru", 5, 64, layers=layers, dropout=0.5) for layers in (1, 2))
    assert torch.equal(one(x, mask), one(x, mask))
    assert not torch.equal(two(x, mask), two(x, mask))
    assert isinstance(two.eval().dropout, nn.Dropout)
    assert torch.equal(two(x, mask), two(x, mask))
