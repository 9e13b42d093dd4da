"""Options with a few choices are checked by their types: a config with another value is refused before it is built."""

import pytest

from vesalius.config.targets import target_problems


@pytest.mark.parametrize(
    ("target", "key", "value"),
    [
        ("CNNClassifier", "test_time_flips", ["diagonal"]),
        ("CNNClassifier", "test_time_flips", "horizontal"),
        ("ClassificationLoss", "kind", "hinge"),
        ("Finetune", "freeze", "most"),
        ("GANLoss", "kind", "lsgan"),
        ("MultiStep", "milestones", [1.5]),
        ("ReconstructionLoss", "kind", "l3"),
        ("RegressionLoss", "kind", "focal"),
        ("SequenceClassifier", "test_time_flips", ["diagonal"]),
        ("nets.AutoencoderNet", "linear_path", "ica"),
        ("nets.AutoencoderNet", "output", "tanh"),
        ("nets.DCGANCritic", "norm", "layer"),
        ("nets.Preprocess", "mean", "image_net"),
        ("nets.Preprocess", "image_size", 28.5),
        ("nets.RecurrentNet", "cell", "lstn"),
        ("nets.RecurrentNet", "pooling", "max"),
        ("nets.RecurrentNet", "time_inputs", ["delta", "age"]),
        ("nets.ResidualCritic", "norm", "batch"),
        ("nets.SmallResNet", "stem_stride", "two"),
        ("nets.TorchvisionNet", "head", "dense"),
        ("nets.TorchvisionNet", "stem", "tiny"),
    ],
)
def test_another_value_is_refused_by_the_key(target, key, value):
    node = {"_target_": f"vesalius.models.{target}", "_partial_": True, key: value}
    (problem,) = target_problems(node, "model")
    assert problem.startswith(f"model.{key}={value!r}: expected ")
