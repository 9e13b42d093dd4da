"""Content of JSON and YAML files of strangers is bounded; what is ours is read as it was written."""

import json
import os

import pytest
import yaml

from vesalius.config.plain import MOST_BYTES, checked, read_json, read_text, read_yaml


def test_what_is_plain_is_read_as_it_was_written(tmp_path) -> None:
    content = {"a": [1, 2.5, None, True, "é"], "b": {"c": {}, "d": []}, "1": "x"}
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(content))
    assert read_json(tmp_path / "a.json") == content
    assert read_yaml(tmp_path / "a.yaml") == content


def test_a_reference_is_content_like_any_other(tmp_path) -> None:
    (tmp_path / "a.yaml").write_text("a: &one [1, 2]\nb: *one\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &a {k: v}\nb: {<<: *a}\n", "merges mappings"),
        ("a: &a {k: v}\nb: {!!merge x: *a}\n", "merges mappings"),
        ("a: &a [*a]\n", "more parts"),
        ("!!python/name:os.system\n", "could not determine a constructor"),
        ("a: !!binary aGFsbG8=\n", "it holds a bytes"),
        ("a: 2020-01-01\n", "it holds a date"),
        ("a: !!set {b}\n", "it holds a set"),
    ],
)
def test_other_yaml_is_refused(text, reason, tmp_path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises((ValueError, yaml.YAMLError), match=reason):
        read_yaml(tmp_path / "a.yaml")


def test_shared_parts_count_each_time() -> None:
    node: list = ["x"]
    for _ in range(8):
        node = [node] * 10
    with pytest.raises(ValueError, match="more parts"):
        checked(node)
    assert checked([["x"] * 100] * 100)


def test_depth_size_and_pipes(tmp_path) -> None:
    (tmp_path / "deep").write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "deep")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(ValueError, match="32 MiB"):
        read_text(tmp_path / "large")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="no file"):
        read_text(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "absent")
