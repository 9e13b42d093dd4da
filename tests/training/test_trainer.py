"""What the machine decides, what is refused, and what compiling and profiling leave behind."""

import json
import shutil

import pandas as pd
import pytest
import torch
from torch._dynamo.utils import counters

from vesalius.commands.train import train
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError
from vesalius.config.targets import target_problems
from vesalius.metrics.comparison.paired import paired_difference
from vesalius.runs.run_folder import RunFolder
from vesalius.training.checkpoints import load_checkpoint, restore_model
from vesalius.training.trainer import Trainer, best_precision

NODE = {"_target_": "vesalius.training.Trainer"}
QUIET = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
SMALL = ["data=lesions", "data.source.patients=40", "data.source.image_size=28", "logger=none", "data.batch_size=8"]
TINY = ["model.net.widths=[8,16]", "model.net.blocks=1"]


@pytest.fixture
def run(tmp_path):
    """Train in this process."""

    def run(name, *overrides):
        folder = RunFolder.create(tmp_path / name, load_config("train", [*SMALL, *overrides]), [])
        train(folder.path)
        return folder

    return run


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": True}, "bf16-mixed"),
        ({"avx2": True}, "32-true"),
        ({}, "32-true"),
    ],
)
def test_a_cpu_gets_bf16_only_with_units_for_it(monkeypatch, capabilities, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert best_precision("cpu") == precision


def test_a_given_precision_is_kept():
    assert Trainer(precision="32-true", **QUIET).precision == "32-true"
    assert Trainer(**QUIET).precision == best_precision("cpu")


@pytest.mark.parametrize(("given", "meant"), [(32, "32-true"), ("bf16", "bf16-mixed"), ("auto", best_precision("cpu"))])
def test_precision_is_one_word_for_all_trainers(given, meant):
    for trainer in ("cpu", "debug"):
        config = load_config("train", [f"trainer={trainer}", f"trainer.precision={given}"])["trainer"]
        assert Trainer(precision=config["precision"], **QUIET).precision == meant
    assert load_config("train", ["trainer.precision=64-true"])["trainer"]["precision"] == "64-true"


@pytest.mark.parametrize("precision", [16, "16", "16-mixed", "16-true"])
def test_16_bits_on_a_cpu_are_refused_with_the_cure(precision):
    with pytest.raises(InputError, match=r"trainer\.precision=bf16"):
        Trainer(precision=precision, **QUIET)


def test_a_wish_to_compile_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"trainer\.compile=true: there is no C\+\+ compiler"):
        Trainer(compile=True, **QUIET)


def test_clipping_what_a_fused_optimizer_scales_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(Trainer, "precision", "16-mixed")
    overrides = [*SMALL, *TINY, "trainer=debug", "trainer.gradient_clip_val=1"]
    folder = RunFolder.create(tmp_path / "run", load_config("train", overrides), [])
    with pytest.raises(InputError, match=r"model\.optimizer\.fused=false"):
        train(folder.path)


def test_a_profile_shows_where_the_time_goes(run, capsys):
    folder = run("profiled", *TINY, "trainer=profile", "trainer.accelerator=cpu", "data.steps_per_epoch=20")
    profile = folder.path / "profile"
    assert str(profile) in capsys.readouterr().out
    hooks, table = (profile / "fit-hooks.txt").read_text(), (profile / "operations.txt").read_text()
    assert "train_dataloader_next" in hooks
    assert "optimizer_step" in hooks
    assert "convolution" in table
    # Ten steps are recorded, and each steps the optimiser once.
    (steps,) = [line for line in table.splitlines() if "Optimizer.step#AdamW.step" in line]
    assert steps.split()[-1] == "10"
    events = json.loads((profile / "trace.json").read_text())["traceEvents"]
    assert len(events) > 100
    assert not (folder.path / "metrics.json").exists()


def test_compiling_is_in_place_and_only_of_the_nets(run, monkeypatch):
    compile_as_usual, compiled = torch.nn.Module.compile, []

    def note(module):
        compiled.append(type(module).__name__)
        compile_as_usual(module, backend="eager")  # traces as always; translating takes half a minute

    monkeypatch.setattr(torch.nn.Module, "compile", note)
    torch._dynamo.reset()
    counters.clear()
    folder = run("run", *TINY, "trainer=cpu", "trainer.max_epochs=1", "trainer.compile=true", "callbacks=ema")
    assert compiled == ["SmallResNet"]
    assert counters["stats"]["unique_graphs"] > 0
    state = load_checkpoint(folder.best)
    assert restore_model(state).net._compiled_call_impl is None
    assert not [name for name in state["state_dict"] if "_orig_mod" in name]


@pytest.mark.proof
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("cnn", TINY),
        ("autoencoder", ["model.net.encoder.widths=[8,16]"]),
        ("lstm", ["data=perfusion", "data.frames=4", "data.source.patients=48"]),
        ("gan", ["model.generator.width=8", "model.critic.width=8"]),
    ],
)
def test_a_compiled_run_leaves_a_plain_checkpoint(run, model, options):
    chosen = [
        f"model={model}",
        *options,
        "trainer=cpu",
        "trainer.max_epochs=1",
        "trainer.precision=32",
        "callbacks=ema",
    ]
    torch._dynamo.reset()
    counters.clear()
    compiled, plain = run("compiled", *chosen, "trainer.compile=true"), run("plain", *chosen)
    states = [load_checkpoint(folder.last)["state_dict"] for folder in (compiled, plain)]
    assert states[0].keys() == states[1].keys()
    assert counters["stats"]["unique_graphs"] > 0
    restore_model(load_checkpoint(compiled.best))
    losses = [pd.read_csv(folder.path / "history.csv")["train/loss"] for folder in (compiled, plain)]
    assert losses[0].tolist() == pytest.approx(losses[1].tolist(), rel=1e-2)


@pytest.mark.proof
def test_bf16_reaches_the_auroc_of_32_bits(run):
    options = ["data.source.patients=200", "data.batch_size=64", "trainer=cpu", "trainer.max_epochs=15"]
    folders = {
        precision: run(f"run{precision}", *options, f"trainer.precision={precision}") for precision in ("32", "bf16")
    }
    tables = {name: pd.read_csv(folder.predictions / "test.csv") for name, folder in folders.items()}
    classes = [name.removeprefix("prob/") for name in tables["32"].filter(like="prob/")]
    difference = paired_difference(tables["bf16"], tables["32"], metric="auroc", task="multiclass", classes=classes)
    print(f"bf16 minus 32: {difference['value']:+.3f} [{difference['ci95'][0]:+.3f}, {difference['ci95'][1]:+.3f}]")
    found = {name: folder.metrics["test"]["auroc"] for name, folder in folders.items()}
    seconds = {name: pd.read_csv(folder.path / "history.csv")["seconds"].sum() for name, folder in folders.items()}
    for name, entry in found.items():
        low, high = entry["ci95"]
        print(f"precision={name}: test auroc {entry['value']:.3f} [{low:.3f}, {high:.3f}], {seconds[name]:.0f} s")
    assert found["bf16"]["value"] >= found["32"]["ci95"][0]
    assert difference["ci95"][1] >= 0  # nor is it worse on the very same patients
    assert found["32"]["value"] > 0.75  # there was something to lose


def test_its_keys_and_values_are_checked_as_lightnings():
    assert list(target_problems({**NODE, "precision": "auto", "max_epochs": 3}, "trainer")) == []
    (problem,) = target_problems({**NODE, "max_epoch": 3}, "trainer")
    assert "Did you mean 'max_epochs'?" in problem
    (problem,) = target_problems({**NODE, "max_epochs": "many"}, "trainer")
    assert "expected a whole number or null" in problem
