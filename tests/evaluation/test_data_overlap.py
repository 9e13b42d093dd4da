"""No run is evaluated on images that its first weights, or its feature extractor, have learned from."""

import json

import pandas as pd
import pytest
import yaml

from vesalius.commands.train import train
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError
from vesalius.evaluation.data_overlap import check_data_overlap
from vesalius.runs.run_folder import RunFolder

HERE, ELSEWHERE = {"_target_": "sources.Lesions"}, {"_target_": "sources.Perfusion"}


def table(**splits):
    return pd.DataFrame(list(splits.items()), columns=["sample_id", "split"]).assign(group_id="NA")


def run_at(path, split, *, start=None, source=HERE, fingerprint="A"):
    path.mkdir()
    config = {"data": {"source": source}, "init_from": None if start is None else str(start)}
    (path / "provenance.json").write_text(json.dumps({"data": fingerprint}))
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    split.to_csv(path / "split.csv", index=False)
    return path


def test_a_run_that_learned_from_evaluated_images_is_refused_and_one_that_was_evaluated_on_them_is_not(tmp_path):
    run = run_at(tmp_path / "a", table(p1="train", p2="train", p3="val", p4="test", p5="unused"))
    check_data_overlap("init_from", str(run), table(p1="train", p2="unused", p3="test", p4="val", p5="test"), HERE, "A")
    check_data_overlap("init_from", None, table(p1="test"), HERE, "A")
    with pytest.raises(InputError, match=rf"init_from={run}: it has learned from 2 of .*data.split_file={run}/split"):
        check_data_overlap("init_from", str(run), table(p1="test", p2="val", p3="test"), HERE, "A")


def test_so_is_a_run_that_started_from_weights_that_have(tmp_path):
    first = run_at(tmp_path / "a", table(p1="train", p2="test"))
    second = run_at(tmp_path / "b", table(p1="test", p2="train"), start=first)
    third = run_at(tmp_path / "c", table(p7="train"), start=second, source=ELSEWHERE)
    with pytest.raises(InputError, match=rf"extractor={third}: its weights .* {first}, which has learned from 1 of"):
        check_data_overlap("evaluation.extractor", str(third), table(p1="test", p3="val"), HERE, "A")


def test_what_is_unknown_or_other_data_is_no_reason_to_refuse(tmp_path, caplog):
    other = run_at(tmp_path / "other", table(p1="train"), source=ELSEWHERE, start=tmp_path / "gone")
    check_data_overlap("init_from", str(other), table(p1="test"), HERE, "A")
    assert "its training images are not known" in caplog.text
    (tmp_path / "weights.pt").write_bytes(b"")
    check_data_overlap("evaluation.extractor", str(tmp_path / "weights.pt"), table(p1="test"), HERE, "A")
    with pytest.raises(InputError, match="not a run folder"):
        check_data_overlap("init_from", str(tmp_path / "gone"), table(p1="test"), HERE, "A")


def test_equal_names_of_other_phantoms_and_other_folders_are_those_of_other_images(tmp_path, caplog):
    evaluated = table(p1="test")
    for number, (before, now) in enumerate((({"seed": 0}, {"seed": 1}), ({"name": "path"}, {"name": "blood"}))):
        run = run_at(tmp_path / str(number), table(p1="train"), source=HERE | before)
        check_data_overlap("init_from", str(run), evaluated, HERE | now, "B")
        with pytest.raises(InputError, match="learned from 1"):  # another size of the same patients, say
            check_data_overlap("init_from", str(run), evaluated, HERE | before, "B")
    assert not caplog.records
    for where in ("root", "manifest"):
        run = run_at(tmp_path / where, table(p1="train"), source=HERE | {where: "one"})
        check_data_overlap("init_from", str(run), evaluated, HERE | {where: "another"}, "B")
        assert "taken for other" in caplog.text
        caplog.clear()
        for same, fingerprint in (("one", "B"), ("another", "A")):  # files were added, or all were moved
            with pytest.raises(InputError, match="learned from 1"):
                check_data_overlap("init_from", str(run), evaluated, HERE | {where: same}, fingerprint)


def test_a_classifier_does_not_start_from_weights_that_saw_its_test_patients(tmp_path, cache_dir):
    given = ["data=lesions", "data.source.patients=40", "data.source.slices=1", "data.source.image_size=28"]
    given += ["data/augment=none", "trainer=cpu", "trainer.max_epochs=1", "logger=none", "evaluation.baselines=false"]
    given += [f"data.cache_dir={cache_dir}", "model=cnn", "model.net.widths=[4]"]

    def run(name, *overrides):
        folder = RunFolder.create(tmp_path / name, load_config("train", [*given, *overrides]), [*given, *overrides])
        train(folder.path)

    run("first", "seed=0")
    with pytest.raises(InputError, match=r"init_from=.*has learned from"):
        run("other_split", "seed=1", f"init_from={tmp_path}/first")
    run("same_split", "seed=1", f"init_from={tmp_path}/first", f"data.split_file={tmp_path}/first/split.csv")


def test_imagenet_is_no_run_of_ours():
    check_data_overlap("evaluation.extractor", "imagenet", table(a="val", b="test"), HERE, "A")
