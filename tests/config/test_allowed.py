"""What a config may name: the shipped configs need no more, and names that only look right are refused."""

import importlib
import inspect

import pytest
import yaml

from vesalius.config.allowed import PACKAGES, allow, builds_an_object, check_allowed, is_allowed, targets_of
from vesalius.config.compose import conf_dir
from vesalius.config.errors import InputError


def test_every_target_of_the_shipped_configs_is_allowed():
    found = {
        target
        for path in conf_dir().rglob("*.yaml")
        for _, target in targets_of(yaml.safe_load(path.read_text(encoding="utf-8")))
        if "." in target
    }
    assert len(found) > 30
    assert [target for target in sorted(found) if not is_allowed(target)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_offer_only_what_builds_objects(package):
    """No name below them that passes is a function that reads, writes or runs something, or a class from elsewhere."""
    module = importlib.import_module(package)
    named = {f"{package}.{name}": getattr(module, name) for name in dir(module) if is_allowed(f"{package}.{name}")}
    passing = {name: found for name, found in named.items() if builds_an_object(name, found)}
    assert passing
    functions = [name for name, found in passing.items() if not inspect.isclass(found)]
    assert functions == (["vesalius.models.build_task_loss"] if package == "vesalius.models" else [])
    root = package.split(".")[0]
    assert all(found.__module__.split(".")[0] == root for found in passing.values())


@pytest.mark.parametrize(
    "target",
    [
        *("os.system", "shutil.copy", "vesalius.runs.RunFolder.create", "vesalius.training.load_checkpoint"),
        *(
            "torch.nn.Module.load_state_dict",
            "torch.nn.parallel",
            "torch.hub.load",
            "torch.load",
            "torchvision.models.",
        ),
        *("vesalius.models.lazy_loader", "vesalius.data.sources.base.np.save", "", "Net", "${oc.env:HOME}"),
        *("pytorch_lightning.callbacks.os", "pytorch_lightning.Trainer", "vesalius.models.nets.Net.forward"),
    ],
)
def test_other_code_is_refused_with_the_cure(target):
    with pytest.raises(InputError, match="If you trust it, set VESALIUS_ALLOW="):
        check_allowed({"a": [{"b": {"_target_": target}}]})


def test_the_user_may_allow_a_package_or_a_name(monkeypatch):
    monkeypatch.setenv("VESALIUS_ALLOW", "mine, theirs.nets.Net")
    assert [is_allowed(name) for name in ("mine.a.B", "theirs.nets.Net", "theirs.nets.Other", "minecraft.A")] == [
        *(True, True, False, False)
    ]
    assert not is_allowed("own.Class")
    allow(["own.Class"])
    assert is_allowed("own.Class")


def test_all_names_come_at_once_with_their_keys():
    with pytest.raises(InputError) as caught:
        check_allowed({"model": {"_target_": "a.B", "net": [{"_target_": "c.D"}, {"_target_": "torch.nn.ReLU"}]}})
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "model._target_=a.B",
        "model.net[0]._target_=c.D",
    ]
