"""Bad data: one message that names the thing and the cure, and nothing left behind."""

import shutil

import numpy as np
import pytest
from PIL import Image

from vesalius.config.errors import InputError, RunFailed

SMALL = ["data=image_folder", "trainer=cpu", "trainer.max_epochs=1", "logger=none"]


@pytest.fixture
def broken_root(image_root, tmp_path):
    """A copy of the image folder for a test to break."""
    return shutil.copytree(image_root, tmp_path / "broken")


def refusal(run_training, root, *overrides):
    with pytest.raises(InputError) as caught:
        run_training([*SMALL, f"data.source.root={root}", *overrides], "refused")
    assert not (root.parent / "refused").exists()
    return str(caught.value)


def test_a_zero_byte_image_is_named(run_training, broken_root):
    (broken_root / "train/a/empty.png").touch()
    assert "empty.png" in refusal(run_training, broken_root)


def test_all_unreadable_images_are_named_at_once(run_training, broken_root):
    (broken_root / "train/a/text.png").write_text("this is no image")
    whole = next((broken_root / "train/b").glob("*.png")).read_bytes()
    (broken_root / "train/b/cut.png").write_bytes(whole[: len(whole) // 2])
    said = refusal(run_training, broken_root)
    assert "text.png" in said
    assert "cut.png" in said
    assert "on_bad_file" in said


def test_unreadable_images_can_be_left_out(run_training, broken_root):
    (broken_root / "train/a/empty.png").touch()
    folder = run_training([*SMALL, f"data.source.root={broken_root}", "data.on_bad_file=skip"])
    assert folder.state["state"] == "done"
    assert "train/a/empty.png" in (folder.path / "skipped.csv").read_text()
    assert "empty.png" in (folder.path / "split.csv").read_text()  # so that a resume finds the data it began with
    assert folder.metrics["baselines"]


def test_images_of_different_shapes_need_a_size(run_training, broken_root):
    assert "data.image_size" in refusal(run_training, broken_root, "data.image_size=null")


def test_an_image_of_another_channel_count_is_named(run_training, broken_root):
    Image.fromarray(np.zeros((30, 30), np.uint8)).save(broken_root / "train/a/grey.png")
    said = refusal(run_training, broken_root)
    assert "grey.png" in said
    assert "data.channels" in said


def test_one_class_only_is_refused(run_training, broken_root):
    for split in ("train", "val", "test"):
        for name in ("b", "c"):
            shutil.rmtree(broken_root / split / name)
    assert "at least two" in refusal(run_training, broken_root)


def test_a_class_absent_from_validation_is_named(run_training, broken_root):
    shutil.rmtree(broken_root / "val/b")
    said = refusal(run_training, broken_root)
    assert "val" in said
    assert "`b`" in said


def test_an_empty_split_is_named(run_training, broken_root):
    for path in (broken_root / "test").rglob("*.png"):
        path.unlink()
    assert "test" in refusal(run_training, broken_root)


def test_a_group_in_two_splits_is_named(run_training, broken_root):
    for split in ("train", "test"):
        source = next((broken_root / split / "a").glob("*.png"))
        shutil.copy(source, broken_root / split / "a" / f"P77_{split}.png")
    said = refusal(run_training, broken_root, "data.source.group_pattern='(P77|[a-z]+[0-9]+)_'")
    assert "P77" in said


def test_a_missing_folder_is_named(run_training, broken_root):
    assert "nowhere" in refusal(run_training, broken_root, f"data.source.root={broken_root}/nowhere")


def test_labels_without_images_are_refused(run_training, broken_root):
    table = broken_root / "crops_index.tsv"
    table.write_text(table.read_text() + "train/a/gone.png\tP1\n")
    said = refusal(
        run_training, broken_root, f"data.source.index={table}", "data.source.index_group_column=source_image"
    )
    assert "gone.png" in said


def test_one_image_in_a_step_is_refused_where_batchnorm_needs_two(run_training, image_root, tmp_path):
    overrides = ["model=resnet18", "data.batch_size=1", "data.image_size=32", "trainer=cpu", "logger=none"]
    with pytest.raises(InputError, match=r"data\.batch_size=1: BatchNorm"):
        run_training(["data=image_folder", f"data.source.root={image_root}", *overrides], "refused")
    assert not (tmp_path / "refused").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["data.batch_size=47", "data.image_size=32"],  # of 48 images one is left over
        ["data.batch_size=1", "data.image_size=64"],  # whose last maps have four values
    ],
)
def test_one_image_in_a_step_is_taken_where_batchnorm_can_have_it(run_training, image_root, overrides):
    overrides = [*overrides, "model=resnet18", "trainer=cpu", "trainer.max_epochs=1", "logger=none"]
    run = run_training(["data=image_folder", f"data.source.root={image_root}", *overrides], "taken")
    assert run.metrics["test"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.eval_batch_size=0", "data.eval_batch_size=0"),
        ("evaluation.decision=youden", "needs two classes"),
        ("evaluation.decision=yuoden", "use argmax, youden"),
        ("trainer.precision=bf17", "precision"),
        ("trainer.accelerator=tpu", "trainer"),
        ("init_from=nowhere", "is not a run folder"),
        ("model.optimizer.lr=-1", r"model\.optimizer: Invalid learning rate: -1"),
        ("+trainer.val_check_interval=1000", r"trainer\.val_check_interval=1000: .*training batches"),
    ],
)
def test_what_would_fail_after_training_is_refused_before(run_training, image_root, tmp_path, override, said):
    with pytest.raises(InputError, match=said):
        run_training([*SMALL, f"data.source.root={image_root}", override], "refused")
    assert not (tmp_path / "refused").exists()


def test_a_learning_rate_that_diverges_ends_with_1_and_keeps_what_was_good(run_training, data_overrides, tmp_path):
    overrides = ["data=medmnist", *data_overrides["medmnist"], "data.batch_size=16", "trainer=cpu", "logger=none"]
    overrides += ["trainer.max_epochs=30", "model.optimizer.lr=1e18", "trainer.precision=32-true"]
    with pytest.raises(RunFailed, match=r"model\.optimizer\.lr"):
        run_training(overrides, "diverged")
    assert RunFailed.exit_code == 1
    import torch

    for path in (tmp_path / "diverged/checkpoints").glob("*.ckpt"):
        state = torch.load(path, weights_only=True)["state_dict"]
        assert all(torch.isfinite(tensor).all() for tensor in state.values() if tensor.is_floating_point())
