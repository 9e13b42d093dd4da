import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from vesalius.config.errors import InputError
from vesalius.models.losses.classification import ClassificationLoss


@pytest.fixture
def single():
    torch.manual_seed(0)
    return torch.randn(40, 3) * 3, torch.randint(0, 3, (40,))


@pytest.fixture
def multi():
    torch.manual_seed(0)
    return torch.randn(40, 3) * 3, torch.randint(0, 2, (40, 3)).float()


def test_auto_is_cross_entropy_or_bce(make_facts, single, multi):
    for task in ("multiclass", "ordinal"):
        torch.testing.assert_close(ClassificationLoss(make_facts(task))(*single), F.cross_entropy(*single))
    loss = ClassificationLoss(make_facts("multilabel"))(*multi)
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(*multi))


def test_bce_on_one_label_is_bce_on_its_one_hot(make_facts, single):
    logits, target = single
    loss = ClassificationLoss(make_facts(), kind="bce", label_smoothing=0.1)(logits, target)
    hot = F.one_hot(target, 3) * 0.9 + 0.05
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits, hot))


def test_smoothing_and_weights_are_torchs(make_facts, single, multi):
    weights = [0.5, 1.0, 3.0]
    loss = ClassificationLoss(make_facts(), class_weights=weights, label_smoothing=0.2)(*single)
    torch.testing.assert_close(loss, F.cross_entropy(*single, torch.tensor(weights), label_smoothing=0.2))
    loss = ClassificationLoss(make_facts("multilabel"), class_weights=weights)(*multi)
    expected = F.binary_cross_entropy_with_logits(*multi, pos_weight=torch.tensor(weights))
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_focal_without_gamma_is_the_plain_loss(make_facts, single, multi, class_weights):
    for task, data in (("multiclass", single), ("multilabel", multi)):
        facts = make_facts(task)
        focal = ClassificationLoss(facts, kind="focal", gamma=0.0, class_weights=class_weights)
        torch.testing.assert_close(focal(*data), ClassificationLoss(facts, class_weights=class_weights)(*data))


def test_focal_is_torchvisions_on_labels_and_the_papers_on_classes(make_facts, single, multi):
    loss = ClassificationLoss(make_facts("multilabel"), kind="focal", gamma=2.0)(*multi)
    torch.testing.assert_close(loss, sigmoid_focal_loss(*multi, alpha=-1, gamma=2.0, reduction="mean"))
    right = single[0].softmax(1).gather(1, single[1][:, None])
    loss = ClassificationLoss(make_facts(), kind="focal", gamma=1.5)(*single)
    torch.testing.assert_close(loss, (-((1 - right) ** 1.5) * right.log()).mean())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_has_finite_gradients_for_certain_predictions(make_facts, gamma):
    for task, target in (("multiclass", torch.tensor([0, 1])), ("multilabel", torch.tensor([[1.0, 0], [0, 1]]))):
        logits = torch.tensor([[200.0, -200.0], [200.0, -200.0]], requires_grad=True)
        ClassificationLoss(make_facts(task, classes=2), kind="focal", gamma=gamma)(logits, target).backward()
        assert logits.grad.isfinite().all()


def test_balanced_weights_make_classes_count_alike(make_facts):
    loss = ClassificationLoss(make_facts(class_counts=(10, 20, 30), train_size=60), class_weights="balanced")
    torch.testing.assert_close(loss.weight * torch.tensor([10.0, 20, 30]), torch.full((3,), 20.0))
    facts = make_facts("multilabel", class_counts=(10, 20, 30), train_size=60)
    loss = ClassificationLoss(facts, class_weights="balanced")
    torch.testing.assert_close(loss.weight, torch.tensor([5.0, 2.0, 1.0]))
    assert loss.state_dict() == {}


@pytest.mark.parametrize("kind", ["cross_entropy", "bce", "focal"])
def test_probabilities_sum_to_one_even_for_extreme_logits(make_facts, single, kind):
    loss = ClassificationLoss(make_facts(), kind=kind)
    for logits in (single[0], torch.full((2, 3), -500.0)):
        torch.testing.assert_close(loss.probabilities(logits).sum(1), torch.ones(len(logits)))


def test_probabilities_belong_to_the_loss(make_facts, single, multi):
    logits = single[0]
    torch.testing.assert_close(ClassificationLoss(make_facts()).probabilities(logits), logits.softmax(1))
    sigmoid = logits.sigmoid()
    bce = ClassificationLoss(make_facts(), kind="bce").probabilities(logits)
    torch.testing.assert_close(bce, sigmoid / sigmoid.sum(1, keepdim=True))
    labels = ClassificationLoss(make_facts("multilabel")).probabilities(multi[0].bfloat16())
    assert labels.dtype == torch.float32
    torch.testing.assert_close(labels, multi[0].bfloat16().float().sigmoid())


@pytest.mark.parametrize(
    ("task", "options", "named"),
    [
        ("multilabel", {"kind": "cross_entropy"}, "kind"),
        ("multiclass", {"kind": "focal", "label_smoothing": 0.1}, "label_smoothing"),
        ("multiclass", {"label_smoothing": 1.0}, "label_smoothing"),
        ("multiclass", {"kind": "focal", "gamma": -1.0}, "gamma"),
        ("multiclass", {"class_weights": [1.0, 2.0]}, "class_weights"),
        ("multiclass", {"class_weights": [1.0, 0.0, 1.0]}, "class_weights"),
    ],
)
def test_nonsense_is_refused_by_name(make_facts, task, options, named):
    with pytest.raises(InputError, match=f"model.loss.{named}"):
        ClassificationLoss(make_facts(task), **options)


def test_balanced_weights_for_an_absent_class_are_refused(make_facts):
    with pytest.raises(InputError, match="c1"):
        ClassificationLoss(make_facts(class_counts=(5, 0, 5)), class_weights="balanced")
