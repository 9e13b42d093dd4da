"""LSTM, GRU and plain RNN over padded series, with masks in place of packed sequences."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Cell = Literal["lstm", "gru", "rnn"]

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class RecurrentLayers(nn.Module):
    """Layers of recurrent cells, whose states at real frames do not depend on how long the padding is.

    Padding is at the end, so that the forward direction reaches it after all real frames. The backward direction runs
    over each series reversed within its own length, and so starts at the last real frame. Packed sequences do the same
    but cannot be exported.

    Args:
        cell: `lstm` (Hochreiter and Schmidhuber 1997), `gru` (Cho et al. 2014) or `rnn` (tanh; Elman 1990).
        input_size: length of an input vector.
        hidden_size: length of a state, of each direction.
        layers: number of stacked layers.
        bidirectional: add a backward direction to every layer.
        dropout: probability between layers.

    Attributes:
        out_features: length of an output vector; the forward direction's half comes first.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.out_features = hidden_size * (2 if bidirectional else 1)
        sizes = [input_size] + [self.out_features] * (layers - 1)

        def direction() -> nn.ModuleList:
            return nn.ModuleList(CELLS[cell](size, hidden_size, batch_first=True) for size in sizes)

        self.onwards = direction()
        self.backwards = direction() if bidirectional else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map series (B, T, F) with `mask` (B, T), True at real frames, to states (B, T, out_features), float32."""
        if torch.compiler.is_exporting():  # a program that sets autocast cannot be saved, and runs without it
            return self._run(x, mask)
        # In 32 bits: rounding errors accumulate over hundreds of steps, and the recurrence is a small part of the work.
        with torch.autocast(x.device.type, enabled=False):
            return self._run(x.to(next(self.parameters()).dtype), mask)

    def _run(self, x: Tensor, mask: Tensor) -> Tensor:
        order = _reversal(mask)
        for number, cell in enumerate(self.onwards):
            if number:
                x = self.dropout(x)
            states = _states(cell, x)
            if self.backwards is not None:
                reverse = _states(self.backwards[number], _reorder(x, order))
                states = torch.cat([states, _reorder(reverse, order)], dim=2)
            x = states
        return x


def _reversal(mask: Tensor) -> Tensor:
    """(B, T) positions that reverse each series within its length; padding stays where it is. Its own inverse."""
    place = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    return torch.where(mask, mask.sum(dim=1, keepdim=True) - 1 - place, place)


def _reorder(x: Tensor, order: Tensor) -> Tensor:
    return x.gather(1, order.unsqueeze(2).expand(-1, -1, x.shape[2]))


def _states(cell: nn.Module, x: Tensor) -> Tensor:
    """(B, T, H) states of one layer in one direction."""
    assert isinstance(cell, nn.RNNBase)
    if torch.compiler.is_exporting():
        return _scan(cell, x)
    states: Tensor = cell(x)[0]
    return states


def _scan(cell: nn.RNNBase, x: Tensor) -> Tensor:
    """The same by torch's `scan`: an exported `nn.LSTM` is unrolled, and then takes series of one length only."""
    from torch._higher_order_ops.scan import scan

    step = {nn.LSTM: _lstm_step, nn.GRU: _gru_step, nn.RNN: _rnn_step}[type(cell)]
    weight_in, weight, bias_in, bias = cell.all_weights[0]

    def advance(carry: tuple[Tensor, ...], inputs: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        carry = step(inputs, F.linear(carry[0], weight, bias), carry)
        return carry, carry[0].clone()

    inputs = F.linear(x, weight_in, bias_in).transpose(0, 1)
    state = inputs.new_zeros(inputs.shape[1], cell.hidden_size)
    initial = (state, state.clone()) if isinstance(cell, nn.LSTM) else (state,)
    states: Tensor = scan(advance, initial, inputs, dim=0)[1]
    return states.transpose(0, 1)


def _lstm_step(inputs: Tensor, recurrent: Tensor, carry: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    input_gate, forget, new, out = (inputs + recurrent).chunk(4, dim=1)
    cell = forget.sigmoid() * carry[1] + input_gate.sigmoid() * new.tanh()
    return out.sigmoid() * cell.tanh(), cell


def _gru_step(inputs: Tensor, recurrent: Tensor, carry: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (reset_in, update_in, new_in), (reset, update, new) = inputs.chunk(3, dim=1), recurrent.chunk(3, dim=1)
    update = (update_in + update).sigmoid()
    candidate = (new_in + (reset_in + reset).sigmoid() * new).tanh()
    return ((1 - update) * candidate + update * carry[0],)


def _rnn_step(inputs: Tensor, recurrent: Tensor, carry: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return ((inputs + recurrent).tanh(),)
