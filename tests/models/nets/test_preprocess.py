import pytest
import torch
from torch import nn

from vesalius.config.errors import InputError
from vesalius.models.nets.preprocess import LUMA, Preprocess


def test_article_scaling_is_division_by_255_alone(make_facts):
    image = torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8)
    torch.testing.assert_close(Preprocess(make_facts(), mean=0.0, std=1.0)(image), image / 255)


@pytest.mark.parametrize(
    ("dtype", "value_max"),
    [(torch.uint8, 255.0), (torch.uint16, 65535.0), (torch.float32, 255.0), (torch.float64, 1.0)],
)
def test_default_maps_the_value_range_to_minus_one_to_one(make_facts, dtype, value_max):
    image = torch.tensor([0.0, value_max]).to(dtype).view(1, 1, 1, 2).expand(1, 1, 4, 2)
    out = Preprocess(make_facts(value_max=value_max, image_size=(4, 2)))(image)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out[0, 0, 0], torch.tensor([-1.0, 1.0]))


def test_data_statistics_standardise_the_data_they_come_from(make_facts):
    image = torch.randint(0, 256, (64, 3, 16, 16), dtype=torch.uint8)
    scaled = image / 255
    facts = make_facts(
        channels=3, mean=tuple(scaled.mean((0, 2, 3)).tolist()), std=tuple(scaled.std((0, 2, 3)).tolist())
    )
    out = Preprocess(facts, mean="data", std="data")(image)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std((0, 2, 3)), torch.ones(3), atol=1e-5, rtol=0)


def test_one_channel_becomes_three_as_torchvision_normalises_them(make_facts):
    from torchvision.transforms.v2.functional import normalize

    image = torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8)
    out = Preprocess(make_facts(), channels=3, mean="imagenet", std="imagenet")(image)
    expected = normalize((image / 255).expand(-1, 3, -1, -1), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(out, expected)


def test_three_channels_become_the_luma_and_grey_stays_grey(make_facts):
    pre = Preprocess(make_facts(channels=3), channels=1, mean=0.0, std=1.0)
    image = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    weights = torch.tensor(LUMA).view(3, 1, 1)
    torch.testing.assert_close(pre(image), (image / 255 * weights).sum(1, keepdim=True))
    grey = image[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(pre(grey), grey[:, :1] / 255)


def test_resizing_keeps_a_constant_and_antialiases(make_facts):
    pre = Preprocess(make_facts(size=32), image_size=[8, 16], mean=0.0, std=1.0)
    assert pre.out_size == (8, 16)
    torch.testing.assert_close(pre(torch.full((1, 1, 32, 32), 51.0)), torch.full((1, 1, 8, 16), 0.2))
    checkers = 255.0 * ((torch.arange(32)[:, None] + torch.arange(32)) % 2).view(1, 1, 32, 32)
    assert (pre(checkers)[..., 1:-1, 1:-1] - 0.5).abs().max() < 0.05  # without antialiasing: black or white


def test_images_of_another_size_than_in_training_are_resized(make_facts):
    assert Preprocess(make_facts(size=16))(torch.zeros(2, 1, 40, 24)).shape == (2, 1, 16, 16)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"channels": 3}, "channels"),
        ({"image_size": 0}, "image_size"),
        ({"image_size": [8]}, "image_size"),
        ({"mean": [0.1, 0.2, 0.3]}, "mean"),
        ({"std": 0.0}, "std"),
    ],
)
def test_nonsense_is_refused_by_name(make_facts, options, named):
    with pytest.raises(InputError, match=f"preprocess.{named}"):
        Preprocess(make_facts(channels=2), **options)


def test_all_problems_come_at_once(make_facts):
    with pytest.raises(InputError) as refused:
        Preprocess(make_facts(channels=2), channels=3, image_size=-1, std=-1.0)
    assert len(refused.value.problems) == 3


def test_a_channel_without_contrast_gives_finite_values(make_facts):
    out = Preprocess(make_facts(std=(0.0,)), mean="data", std="data")(torch.full((1, 1, 16, 16), 102.0))
    torch.testing.assert_close(out, torch.zeros(1, 1, 16, 16))


def test_nothing_of_it_is_in_the_state_dict(make_facts):
    assert Preprocess(make_facts(channels=3), channels=1).state_dict() == {}


def test_exported_equals_eager_at_another_batch_size(make_facts):
    facts = make_facts(channels=3, size=20)
    model = nn.Sequential(Preprocess(facts, image_size=16, channels=1), nn.Conv2d(1, 2, 3)).eval()
    image = torch.randint(0, 256, (2, 3, 20, 20), dtype=torch.uint8)
    program = torch.export.export(model, (image,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))
    other = torch.randint(0, 256, (5, 3, 20, 20), dtype=torch.uint8)
    torch.testing.assert_close(program.module()(other), model(other))
