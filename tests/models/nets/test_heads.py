import pytest
import torch
from torch import nn

from vesalius.config.errors import InputError
from vesalius.models.nets.heads import build_head


def test_article_head_is_dense_512_relu_dropout_half_dense():
    head = build_head("article", 20, 4)
    assert [type(layer) for layer in head] == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert head[0].weight.shape == (512, 20)
    assert head[2].p == 0.5
    assert head(torch.rand(3, 20)).shape == (3, 4)


def test_linear_head_drops_out_only_when_asked():
    assert isinstance(build_head("linear", 20, 4), nn.Linear)
    assert build_head("linear", 20, 4, dropout=0.3)[0].p == 0.3


@pytest.mark.parametrize(("kind", "dropout"), [("linear", 1.0), ("article", -0.1)])
def test_a_dropout_that_is_no_probability_is_refused(kind, dropout):
    with pytest.raises(InputError, match=r"model\.net"):
        build_head(kind, 20, 4, dropout)
