import logging
import math
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from torch.utils.data import DataLoader

from vesalius.config.errors import InputError, RunFailed
from vesalius.models.gan.auxiliary_classifier import AuxiliaryClassifier
from vesalius.models.gan.differentiable_augment import DifferentiableAugment
from vesalius.models.gan.gan import GAN
from vesalius.models.gan.loss import GANLoss
from vesalius.models.gan.metrics import SynthesisMetrics
from vesalius.models.nets.gan.article import ArticleCritic, ArticleGenerator
from vesalius.models.nets.gan.dcgan import DCGANCritic, DCGANGenerator
from vesalius.models.nets.gan.residual import ResidualCritic, ResidualGenerator
from vesalius.models.nets.preprocess import Preprocess
from vesalius.models.nets.residual import SmallResNet
from vesalius.models.schedules import Cosine, MultiStep
from vesalius.models.shard import Shard
from vesalius.training.stopping import ValidateAtMaxSteps
from vesalius.training.trainer import Trainer

NETS = {
    "article": (partial(ArticleGenerator, widths=[16]), partial(ArticleCritic, widths=[16])),
    "dcgan": (partial(DCGANGenerator, width=4, most=8), partial(DCGANCritic, width=4, most=8)),
    "residual": (partial(ResidualGenerator, width=4, most=8), partial(ResidualCritic, width=4, most=8)),
}
LOSSES = {
    "bce": GANLoss(kind="bce"),
    "hinge": GANLoss(kind="hinge", r1=1.0, r1_every=2),
    "wasserstein": GANLoss(kind="wasserstein", gradient_penalty=10.0),
}


NAMES = ("generator", "critic", "classifier")


def dense(in_channels, num_outputs):
    small = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())
    return small.append(torch.nn.Linear(16 * in_channels, num_outputs))


def make_model(facts, *, nets="article", seed=0, lr=1e-3, **changes):
    torch.manual_seed(seed)
    adam = partial(torch.optim.Adam, lr=lr, betas=(0.5, 0.9))
    parts = {"loss": LOSSES["bce"], "optimizer": adam, "critic_optimizer": adam, "ema_decay": 0.9}
    parts["classifier"] = partial(AuxiliaryClassifier, net=dense, optimizer=adam)
    parts["preprocess"] = partial(Preprocess, mean=0.5, std=0.5)
    parts["generator"], parts["critic"] = NETS[nets]
    return GAN(facts, **(parts | changes))


def batches(facts, count=6, size=8):
    generator = torch.Generator().manual_seed(0)
    shape = (count, size, facts.channels, *facts.image_size)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, max(1, facts.num_classes), (count, size), generator=generator)
    return [
        {"image": image, "index": torch.arange(size), "target": label}
        for image, label in zip(images, labels, strict=True)
    ]


class Steps(pl.Callback):
    """Counts steps of each optimiser and keeps the norms that each saw."""

    def __init__(self):
        self.counts, self.norms = {}, {}

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        which = NAMES[next(number for number, own in enumerate(trainer.optimizers) if own is optimizer)]
        self.counts[which] = self.counts.get(which, 0) + 1

    def on_train_batch_end(self, trainer, pl_module, *rest):
        for which in NAMES:
            net = getattr(pl_module, which)
            gradients = [] if net is None else [p.grad for p in net.parameters() if p.grad is not None]
            if gradients:
                self.norms.setdefault(which, []).append(float(torch.nn.utils.get_total_norm(gradients)))


def fit(model, data, validate=False, **options):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "num_sanity_val_steps": 0}
    steps = Steps()
    callbacks = [steps, *options.pop("callbacks", [])]
    trainer = Trainer(
        **{"accelerator": "cpu", "precision": "32-true", "enable_model_summary": False, **quiet, **options},
        callbacks=callbacks,
    )
    loader = DataLoader(data, batch_size=None)
    trainer.fit(model, train_dataloaders=loader, val_dataloaders=loader if validate else None)
    return trainer, steps


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 28, 32, 64, 128, 256])
@pytest.mark.parametrize("nets", list(NETS))
def test_every_pair_generates_every_size_conditional_or_not(make_facts, nets, size, channels):
    for conditional in (True, False):
        facts = make_facts(channels=channels, size=size)
        model = make_model(facts, nets=nets, conditional=conditional)
        labels = torch.tensor([0, 1, 2])
        images = model.eval().sample(labels, torch.Generator().manual_seed(0))
        assert images.shape == (3, channels, size, size)
        assert images.min() >= 0
        assert images.max() <= 1
        assert model.critic(images * 2 - 1, labels if conditional else None).shape == (3,)
        assert (model.classifier is not None) == conditional


@pytest.mark.parametrize("nets", ["dcgan", "residual"])
def test_a_side_that_cannot_be_doubled_up_to_is_refused(make_facts, nets):
    with pytest.raises(InputError, match=r"data\.image_size"):
        make_model(make_facts(size=48), nets=nets)


@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("nets", list(NETS))
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_every_pair_trains_with_every_loss_in_both_precisions(make_facts, nets, loss, precision):
    facts = make_facts(size=16)
    changes = {"augment": DifferentiableAugment(0.1, 0.1, 0.1, 0.3)}
    if nets == "dcgan" and loss != "bce":
        changes["critic"] = partial(DCGANCritic, width=4, most=8, norm="spectral")
    model = make_model(facts, nets=nets, loss=LOSSES[loss], **changes)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer, _ = fit(model, batches(facts), validate=True, max_epochs=1, precision=precision)
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    for part in (*NAMES, "average"):
        assert any(name.startswith(part) for name in moved)
    assert math.isfinite(trainer.callback_metrics["val/frechet_distance"])
    assert set(model.logged_metrics) <= set(trainer.callback_metrics)


@pytest.mark.parametrize("nets", list(NETS))
def test_with_a_scaler_gradients_are_bounded_at_their_true_scale_and_an_overflow_changes_nothing(make_facts, nets):
    """What a GPU does in 16 bits, with the scaler that the processor has."""
    facts, bound = make_facts(size=16), 1e-3

    def trained(scale):
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        given = {"precision": None, "plugins": [MixedPrecision("16-mixed", "cpu", scaler=scaler)]}
        model = make_model(facts, nets=nets)
        before = [value.clone() for value in model.generator.parameters()]
        trainer, steps = fit(model, batches(facts, 3), max_epochs=1, gradient_clip_val=bound, **given)
        assert trainer.global_step == steps.counts["generator"] == 3
        return steps, [torch.equal(*pair) for pair in zip(before, model.generator.parameters(), strict=True)]

    steps, same = trained(2.0**10)
    for norms in steps.norms.values():
        assert norms == pytest.approx([bound] * 3, rel=1e-2)
    assert not all(same)
    assert all(trained(2.0**126)[1])


def test_max_steps_and_global_step_count_steps_of_the_generator(make_facts):
    facts = make_facts()
    for n_critic, accumulate in ((1, 1), (3, 1), (1, 2), (2, 2)):
        model = make_model(facts, n_critic=n_critic)
        trainer, steps = fit(model, batches(facts), max_steps=4, accumulate_grad_batches=accumulate, max_epochs=-1)
        assert trainer.global_step == 4
        assert steps.counts["generator"] == 4
        assert steps.counts["critic"] >= 4 * n_critic - (n_critic - 1) * 2
        states = trainer.optimizers[0].state.values()
        assert {int(state["step"]) for state in states} == {4}


def test_a_step_of_the_generator_comes_after_n_steps_of_the_critic(make_facts):
    facts = make_facts()
    trainer, steps = fit(make_model(facts, n_critic=3), batches(facts, 9), max_epochs=2)
    assert steps.counts == {"generator": 6, "critic": 18, "classifier": 18}
    assert trainer.global_step == 6
    trainer, steps = fit(make_model(facts, n_critic=3), batches(facts, 7), max_epochs=1)
    assert steps.counts == {
        "generator": 3,
        "critic": 7,
        "classifier": 7,
    }  # what is left at the end of an epoch is a step too


def test_every_schedule_ends_where_its_optimiser_does(make_facts):
    facts = make_facts()
    # Epochs of 7 batches end with a step of the generator that follows a single one of the critic.
    cases = (
        (6, {"max_epochs": 2}, (4, 12)),
        (6, {"max_steps": 4, "max_epochs": -1}, (4, 12)),
        (7, {"max_epochs": 2}, (6, 14)),
        (7, {"max_steps": 6, "max_epochs": -1}, (6, 14)),
        (7, {"max_steps": 5, "max_epochs": 9}, (5, 13)),
        (7, {"max_steps": 5, "max_epochs": 1}, (3, 7)),
    )
    for count, options, (generator, critic) in cases:
        model = make_model(facts, n_critic=3, schedule=Cosine())
        trainer, steps = fit(model, batches(facts, count), **options)
        assert steps.counts == {"generator": generator, "critic": critic, "classifier": critic}
        rates = [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers]
        assert rates == pytest.approx([0, 0, 0], abs=1e-9)
        assert model.total_steps == generator
    model = make_model(facts, schedule=MultiStep([1], gamma=0.5))
    trainer, _ = fit(model, batches(facts, 6), max_epochs=2)
    assert [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers] == [5e-4] * 3


def test_clipping_bounds_the_gradients_of_each(make_facts):
    facts = make_facts()
    _, free = fit(make_model(facts), batches(facts), max_epochs=1)
    bound = min(min(norms) for norms in free.norms.values()) / 2
    _, steps = fit(make_model(facts), batches(facts), max_epochs=1, gradient_clip_val=bound)
    for norms in steps.norms.values():
        assert norms == pytest.approx([bound] * len(norms), rel=1e-4)
    _, steps = fit(
        make_model(facts), batches(facts), max_epochs=1, gradient_clip_val=1e-9, gradient_clip_algorithm="value"
    )
    assert 0 < max(max(norms) for norms in steps.norms.values()) < 1e-6
    _, unbound = fit(make_model(facts), batches(facts), max_epochs=1, gradient_clip_val=0.0)
    assert unbound.norms == free.norms
    for accumulate in (0, -2):
        with pytest.raises(InputError, match=f"accumulate_grad_batches={accumulate}: "):
            fit(make_model(facts), batches(facts), max_epochs=1, accumulate_grad_batches=accumulate)
    with pytest.raises(InputError, match="gradient_clip_val=-1"):
        fit(make_model(facts), batches(facts), max_epochs=1, gradient_clip_val=-1)


def test_a_trainer_keeps_its_options_for_another_fit(make_facts):
    facts = make_facts()
    options = {"accelerator": "cpu", "precision": "32-true", "logger": False, "enable_checkpointing": False}
    trainer = Trainer(**options, max_epochs=1, accumulate_grad_batches=2, gradient_clip_val=1e-3)
    for _ in range(2):
        model = make_model(facts)
        trainer.fit(model, DataLoader(batches(facts), batch_size=None))
        assert model.accumulate == 2
        assert model.clip is not None


def test_the_classifier_learns_from_real_images_only(make_facts):
    facts, states = make_facts(), []
    normalized = partial(SmallResNet, widths=[4, 8], blocks=1)
    for seed in (0, 1):
        model = make_model(facts, seed=seed)
        torch.manual_seed(5)
        model.classifier = AuxiliaryClassifier(1, 3, net=normalized, optimizer=partial(torch.optim.Adam, lr=1e-3))
        fit(model, batches(facts), max_epochs=2)
        states.append((model.generator.state_dict(), model.classifier.state_dict()))
    (one, classifier), (other, same) = states
    assert not all(torch.equal(one[name], other[name]) for name in one)
    for name, value in classifier.items():
        assert torch.equal(same[name], value), name


def test_a_conditional_generator_learns_to_show_the_classes(make_facts):
    """Classes are shades of grey; the critic does not know them, so that only the classifier teaches them."""
    facts = make_facts()
    labels = torch.arange(3).repeat(8)
    grey = (labels * 100 + 20).to(torch.uint8)[:, None, None, None].expand(-1, 1, *facts.image_size)
    data = [{"image": grey, "index": torch.arange(24), "target": labels}] * 30

    class Blind(ArticleCritic):
        def forward(self, images, labels):
            return super().forward(images, torch.zeros_like(labels))

    adam = partial(torch.optim.Adam, lr=3e-3, betas=(0.5, 0.9))
    teacher = partial(AuxiliaryClassifier, net=dense, optimizer=adam)

    def shown(classifier):
        parts = {"critic": partial(Blind, widths=[16]), "optimizer": adam, "classifier": classifier}
        model = make_model(facts, ema_decay=0.0, **parts)
        fit(model, data, max_epochs=5)
        shades = model.eval().sample(labels, torch.Generator().manual_seed(0)).mean(dim=(1, 2, 3)) * 255
        return float((((shades - 20) / 100).round() == labels).float().mean())

    assert shown(teacher) > 0.9
    assert shown(None) < 0.6


@pytest.mark.parametrize("ends", [(8, 16), (5, 11, 16)])
def test_accumulated_batches_are_one_large_batch(make_facts, ends):
    """However many they are and hold: the last step of the epoch has a batch less, and a smaller one."""
    facts = make_facts()
    data = batches(facts, 3, size=16)
    data.append({name: value[: ends[-2] - 2] for name, value in data[0].items()})
    bounds = [slice(start, end) for start, end in zip((0, *ends), ends, strict=False)]
    pieces = [{name: value[part] for name, value in batch.items()} for batch in data for part in bounds]
    pieces = [piece for piece in pieces if len(piece["index"])]
    assert len(pieces) == 4 * len(ends) - 1
    # Noise that does not depend on how many are drawn at a time.
    given = torch.randn(16, 100, generator=torch.Generator().manual_seed(1))

    def weights(batches_, accumulate):
        used = 0

        def noise(generator, arguments):
            nonlocal used
            _, labels = arguments
            start, used = used % 16, used + len(labels)
            return given[start : start + len(labels)], labels

        model = make_model(facts)
        model.generator.register_forward_pre_hook(noise)
        fit(model, batches_, max_epochs=1, accumulate_grad_batches=accumulate)
        return model.state_dict()

    whole, parts = weights(data, 1), weights(pieces, len(ends))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=2e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_generator_learns_from_the_images_that_the_critic_saw(make_facts, accumulate):
    facts = make_facts()
    generated, seen = [], []
    model = make_model(facts)
    model.generator.register_forward_hook(lambda net, given, images: generated.append(images.detach().clone()))
    model.critic.register_forward_hook(
        lambda critic, given, output: seen.append((given[0].detach().clone(), next(critic.parameters()).requires_grad))
    )
    fit(model, batches(facts, 4), max_epochs=1, accumulate_grad_batches=accumulate)
    assert len(generated) == 4
    by_critic = [images.chunk(2)[1] for images, learns in seen if learns]
    by_generator = [images for images, learns in seen if not learns]
    assert len(by_critic) == len(by_generator) == 4
    for images, first, second in zip(generated, by_critic, by_generator, strict=True):
        assert torch.equal(images, first)
        assert torch.equal(images, second)


def test_no_graph_is_kept_of_images_that_the_generator_does_not_learn_from(make_facts):
    facts, graphs = make_facts(), []
    model = make_model(facts, n_critic=3)
    model.generator.register_forward_hook(lambda net, given, images: graphs.append(images.requires_grad))
    fit(model, batches(facts, 5), max_epochs=1)
    assert graphs == [False, False, True, False, True]


def test_images_come_from_an_average_of_the_generators(make_facts):
    facts = make_facts()
    kept = []

    class Keep(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *rest):
            kept.append(pl_module.generator.layers[0].weight.detach().clone())

    model = make_model(facts, ema_decay=0.9)
    expected = model.generator.layers[0].weight.detach().clone()
    fit(model, batches(facts), max_epochs=3, callbacks=[Keep()])
    for step, weight in enumerate(kept, start=1):
        share = 1 - min(0.9, (1 + step) / (10 + step))
        expected = expected + share * (weight - expected)
    torch.testing.assert_close(model.average.layers[0].weight, expected)
    still = make_model(facts, ema_decay=0.0)
    fit(still, batches(facts), max_epochs=1)
    for own, average in zip(still.generator.parameters(), still.average.parameters(), strict=True):
        torch.testing.assert_close(own, average)


def test_equal_generators_make_equal_images_and_classes_matter(make_facts):
    facts = make_facts()
    model = make_model(facts).eval()
    one, again = (model.sample(torch.zeros(4, dtype=torch.long), torch.Generator().manual_seed(3)) for _ in range(2))
    other = model.sample(torch.ones(4, dtype=torch.long), torch.Generator().manual_seed(3))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)
    blind = make_model(facts, conditional=False).eval()
    samples = [blind.sample(torch.full((4,), k), torch.Generator().manual_seed(3)) for k in (0, 2)]
    assert torch.equal(*samples)


def test_what_shared_blocks_lay_out_does_not_depend_on_the_class():
    torch.manual_seed(0)
    generator = ResidualGenerator(1, (64, 64), 3, width=4, most=8, shared_blocks=2).eval()
    grids, noise = [], torch.randn(5, generator.latent_dim)
    for block in generator.blocks:
        block.register_forward_hook(lambda module, given, out: grids.append(out.detach()))
    images = [generator(noise, torch.full((5,), label)) for label in (0, 2)]
    assert not torch.allclose(*images)
    same = [torch.equal(one, other) for one, other in zip(grids[:3], grids[3:], strict=True)]
    assert same == [True, True, False]
    for side, shared in ((64, 3), (28, 1), (64, -1)):
        with pytest.raises(InputError, match=rf"shared_blocks={shared}: .* {side} pixels"):
            ResidualGenerator(1, (side, side), 3, shared_blocks=shared)


@pytest.mark.parametrize("kind", NETS)
def test_a_generator_without_noise_is_refused(kind):
    with pytest.raises(InputError, match="latent_dim=0"):
        NETS[kind][0](1, (16, 16), latent_dim=0)


def test_penalties_are_their_definitions(make_facts):
    torch.manual_seed(0)
    critic = ArticleCritic(1, (16, 16), widths=[8])
    real, fake = torch.rand(5, 1, 16, 16) * 2 - 1, torch.rand(5, 1, 16, 16) * 2 - 1
    gradients = torch.func.vmap(torch.func.grad(lambda image: critic(image[None], None).sum()))(real)
    squares = gradients.flatten(1).square().sum(1)
    r1 = GANLoss(r1=3.0, r1_every=4)
    assert float(r1.penalty(critic, real, fake, None, 8, Shard())) == pytest.approx(
        float(3.0 * 4 / 2 * squares.mean()), rel=1e-5
    )
    assert float(r1.penalty(critic, real, fake, None, 9, Shard())) == 0
    # Between an image and itself there is nothing but that image.
    smooth = GANLoss(kind="wasserstein", gradient_penalty=10.0)
    expected = 10 * (squares.sqrt() - 1).square().mean()
    assert float(smooth.penalty(critic, real, real, None, 0, Shard())) == pytest.approx(float(expected), rel=1e-5)


def test_losses_are_their_definitions():
    real, fake = torch.tensor([2.0, -0.5]), torch.tensor([-3.0, 0.25])
    assert float(GANLoss(kind="hinge").critic(real, fake)) == pytest.approx((0 + 1.5) / 2 + (0 + 1.25) / 2)
    assert float(GANLoss(kind="wasserstein", gradient_penalty=1.0).critic(real, fake)) == pytest.approx(-1.375 - 0.75)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    expected = bce(real, torch.ones(2)) + bce(fake, torch.zeros(2))
    assert float(GANLoss(kind="bce").critic(real, fake)) == pytest.approx(float(expected))


def test_mistakes_are_reported_at_once(make_facts):
    with pytest.raises(InputError) as refused:
        make_model(make_facts(), n_critic=0, ema_decay=1.0, preprocess=partial(Preprocess, mean=0.0, std=1.0))
    for part in ("n_critic", "ema_decay", "-1..1"):
        assert part in str(refused.value)
    with pytest.raises(InputError, match="norm=spectral"):
        make_model(make_facts(), nets="dcgan", loss=LOSSES["wasserstein"])
    with pytest.raises(InputError, match="gradient_penalty"):
        GANLoss(kind="wasserstein")
    with pytest.raises(InputError, match="model=lstm"):
        make_model(make_facts(sequence_length=5))
    with pytest.raises(InputError, match="translation"):
        DifferentiableAugment(translation=2)
    with pytest.raises(InputError, match=r"model\.classifier\.weight=0"):
        AuxiliaryClassifier(1, 3, net=dense, optimizer=torch.optim.Adam, weight=0)


@pytest.mark.parametrize("of", ["optimizer", "critic_optimizer"])
def test_options_of_an_optimiser_are_checked_before_a_run_begins(make_facts, of):
    with pytest.raises(InputError, match=rf"model\.{of}: Invalid learning rate: -1"):
        make_model(make_facts(), **{of: partial(torch.optim.Adam, lr=-1)})


def test_divergence_ends_the_run_with_the_cure(make_facts, caplog):
    facts = make_facts()
    with caplog.at_level(logging.ERROR), pytest.raises(RunFailed, match=r"lower model.optimizer.lr"):
        fit(make_model(facts, lr=1e30), batches(facts), max_epochs=2)


def test_changes_are_the_same_for_every_pixel_and_let_gradients_through():
    torch.manual_seed(0)
    images = (torch.rand(6, 1, 16, 16) * 2 - 1).requires_grad_()
    for change in (
        DifferentiableAugment(0.25),
        DifferentiableAugment(0.0, 0.5, 0.5),
        DifferentiableAugment(0, cutout=0.5),
        DifferentiableAugment(0, mirror=1.0),
        DifferentiableAugment(0, noise=0.1),
    ):
        out = change(images)
        assert out.shape == images.shape
        assert not torch.allclose(out, images)
        assert torch.autograd.grad(out.sum(), images)[0].abs().sum() > 0
    moved = DifferentiableAugment(0.25)(images.detach())
    for one, other in zip(images.detach()[:, 0], moved[:, 0], strict=True):
        shifts = [
            torch.equal(
                one[max(0, -y) : 16 - max(0, y), max(0, -x) : 16 - max(0, x)],
                other[max(0, y) : 16 + min(0, y), max(0, x) : 16 + min(0, x)],
            )
            for y in range(-4, 5)
            for x in range(-4, 5)
        ]
        assert any(shifts)


def test_mirroring_and_noise_have_their_probability_and_strength():
    torch.manual_seed(0)
    images = torch.rand(400, 1, 16, 16) * 2 - 1
    swapped = DifferentiableAugment(0, mirror=0.25)(images)
    mirrored = (swapped == images.flip(3)).flatten(1).all(1)
    assert ((swapped == images).flatten(1).all(1) | mirrored).all()
    assert 0.2 < mirrored.float().mean() < 0.3
    noise = DifferentiableAugment(0, noise=0.1)(images) - images
    assert float(noise.std()) == pytest.approx(0.1, rel=0.02)
    assert abs(float(noise.mean())) < 0.002


def test_steps_of_the_critic_are_counted_over_epochs(make_facts, monkeypatch):
    facts, seen = make_facts(), []
    loss = GANLoss(kind="hinge", r1=1.0, r1_every=4)
    penalty = GANLoss.penalty

    def spied(self, critic, real, fake, labels, step, shard):
        seen.append(step)
        return penalty(self, critic, real, fake, labels, step, shard)

    monkeypatch.setattr(GANLoss, "penalty", spied)
    fit(make_model(facts, loss=loss), batches(facts, 5), max_epochs=2, accumulate_grad_batches=2)
    assert sorted(set(seen)) == list(range(6))


@pytest.mark.parametrize(("nets", "size"), [("dcgan", 8), ("article", 16)])
def test_a_critic_that_normalises_over_the_batch_sees_real_images_by_themselves(make_facts, nets, size):
    facts, seen = make_facts(size=16), []
    model = make_model(facts, nets=nets)
    model.critic.register_forward_pre_hook(lambda net, given: seen.append(len(given[0])))
    fit(model, batches(facts, 1, size=8), max_epochs=1)
    assert seen[0] == size


def test_losses_are_means_over_the_steps_that_were_taken(make_facts):
    facts = make_facts()
    given, data = {"max_epochs": 1, "callbacks": [ValidateAtMaxSteps()]}, batches(facts, 6)
    trainer, _ = fit(make_model(facts), data[:3], **given)
    cut, _ = fit(make_model(facts), data, max_steps=3, validate=True, **given)
    for name in ("train/loss", "train/critic_loss"):
        assert cut.callback_metrics[name] == trainer.callback_metrics[name]
    assert "val/frechet_distance" in cut.callback_metrics


def test_a_generator_that_diverged_has_no_distance():
    metrics = SynthesisMetrics(1)
    images = torch.rand(8, 1, 16, 16)
    metrics.update(images, torch.full_like(images, torch.nan))
    assert metrics.compute()["frechet_distance"].isnan()
