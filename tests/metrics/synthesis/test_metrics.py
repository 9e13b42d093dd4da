import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from vesalius.config.errors import InputError
from vesalius.metrics.names import SYNTHESIS_METRICS
from vesalius.metrics.synthesis.frechet import frechet_distance
from vesalius.metrics.synthesis.kernel import KernelSums, kernel_distance
from vesalius.metrics.synthesis.manifold import manifold
from vesalius.metrics.synthesis.metrics import synthesis_metrics, synthesis_values

NO_SKILL = dict.fromkeys(SYNTHESIS_METRICS, 0.5)


def samples(count, dim, seed, shift=0.0, spread=1.0):
    return shift + spread * np.random.default_rng(seed).standard_normal((count, dim))


class Flat(torch.nn.Module):
    """Images whose pixels are the features."""

    num_features = 12

    def forward(self, images):
        return images.flatten(1).double()


def single(features):
    """Each sample is a patient."""
    return np.arange(len(features))


def as_images(features):
    return torch.from_numpy(features).reshape(-1, 3, 2, 2)


@pytest.mark.parametrize(("n", "m"), [(200, 150), (8, 9)])
def test_frechet_distance_is_that_of_torchmetrics(n, m):
    real, synthetic = samples(n, 12, 0), samples(m, 12, 1, 0.3, 1.4)
    oracle = FrechetInceptionDistance(feature=Flat(), normalize=True, input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    oracle.update(as_images(real), real=True)
    oracle.update(as_images(synthetic), real=False)
    assert frechet_distance(real, synthetic) == pytest.approx(float(oracle.compute()), abs=1e-4)


def test_frechet_distance_of_normal_distributions_is_the_closed_form():
    real, synthetic = samples(200_000, 3, 0), samples(200_000, 3, 1, 0.5, 2.0)
    assert frechet_distance(real, synthetic) == pytest.approx(3 * (0.25 + 1.0), rel=0.02)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_is_that_of_torchmetrics():
    real, synthetic = samples(100, 12, 0), samples(100, 12, 1, 0.3)
    oracle = KernelInceptionDistance(feature=Flat(), subsets=1, subset_size=100, normalize=True)
    for images, is_real in ((real, True), (synthetic, False)):
        oracle.update(as_images(images), real=is_real)
    found = kernel_distance(real, single(real), synthetic, single(synthetic))
    assert found == pytest.approx(float(oracle.compute()[0]), abs=1e-4)


@pytest.mark.parametrize("shift", [0.0, 0.7, 5.0])
def test_precision_recall_density_and_coverage_are_those_of_prdc(shift):
    real, synthetic = samples(120, 6, 0), samples(90, 6, 1, shift)
    expected = compute_prdc(real, synthetic, nearest_k=5)
    found = manifold(real, single(real), synthetic, single(synthetic)).metrics()
    for name, other in (("manifold_precision", "precision"), ("manifold_recall", "recall")):
        assert found[name] == pytest.approx(expected[other], abs=1e-4)
    assert found["density"] == pytest.approx(expected["density"], abs=1e-4)
    assert found["coverage"] == pytest.approx(expected["coverage"], abs=1e-4)


def test_a_generator_of_one_image_has_low_recall_and_coverage():
    real = samples(300, 8, 0)
    synthetic = real[:1] + 1e-6 * samples(300, 8, 1)
    found = manifold(real, single(real), synthetic, single(synthetic)).metrics()
    assert found["manifold_recall"] < 0.05
    assert found["coverage"] < 0.05
    assert found["manifold_precision"] == 1


def test_entries_hold_the_value_inside_an_interval_over_patients():
    real, synthetic = samples(160, 8, 0), samples(160, 8, 1, 0.3)
    groups = np.repeat(np.arange(40), 4)
    entries = synthesis_metrics(real, groups, synthetic, no_skill=NO_SKILL)
    assert tuple(entries) == SYNTHESIS_METRICS
    plain = synthesis_values(real, groups, synthetic)
    for name, entry in entries.items():
        assert entry["value"] == plain[name]
        low, high = entry["ci95"]
        assert low <= entry["value"] <= high
        assert low < high
        assert (entry["n"], entry["synthetic"], entry["groups"], entry["no_skill"]) == (160, 160, 40, 0.5)
    # Four images of a patient that are nearly one count as about one.
    alike = np.repeat(real[::4], 4, axis=0) + 0.01 * samples(160, 8, 2)
    wider = synthesis_metrics(alike, groups, synthetic, no_skill=NO_SKILL)["kid"]["ci95"]
    apart = synthesis_metrics(alike, np.arange(160), synthetic, no_skill=NO_SKILL)["kid"]["ci95"]
    assert wider[1] - wider[0] > 1.3 * (apart[1] - apart[0])
    # So they do where "synthetic" images are those of other patients.
    options = {"no_skill": NO_SKILL, "synthetic_groups": groups}
    wider = synthesis_metrics(synthetic, np.arange(160), alike, **options)["kid"]["ci95"]
    apart = synthesis_metrics(synthetic, np.arange(160), alike, no_skill=NO_SKILL)["kid"]["ci95"]
    assert wider[1] - wider[0] > 1.2 * (apart[1] - apart[0])


def test_what_cannot_be_computed_is_null_with_the_reason():
    few = synthesis_metrics(samples(4, 3, 0), np.arange(4), samples(4, 3, 1), no_skill=NO_SKILL)
    assert all(entry["value"] is None and "too few" in entry["reason"] for entry in few.values())
    broken = samples(50, 3, 0)
    broken[3, 1] = np.nan
    undefined = synthesis_metrics(samples(50, 3, 1), np.arange(50), broken, no_skill=NO_SKILL)
    assert all(entry["value"] is None and "not finite" in entry["reason"] for entry in undefined.values())
    one_patient = synthesis_metrics(samples(50, 3, 0), np.zeros(50), samples(50, 3, 1), no_skill=NO_SKILL)
    assert all(entry["ci95"] is None for entry in one_patient.values())
    assert [name for name, entry in one_patient.items() if entry["value"] is None] == ["kid"]


def test_fewer_neighbours_than_asked_for_reach_to_the_farthest():
    real, synthetic = samples(3, 2, 0), samples(4, 2, 1)
    known = real, single(real), synthetic, single(synthetic)
    few = manifold(*known)
    assert (few.precise == manifold(*known, k=2).precise).all()
    assert (few.recalled == manifold(*known, k=3).recalled).all()
    alone = manifold(real, np.zeros(3), synthetic, single(synthetic))  # no other patient: nothing is within reach
    assert not alone.precise.any()
    with pytest.raises(InputError, match="at least 2 of each"):
        synthesis_values(samples(1, 3, 0), np.arange(1), samples(50, 3, 1))


def test_images_that_are_all_found_have_an_interval_all_the_same():
    real = samples(200, 4, 0)
    entry = synthesis_metrics(real, np.arange(200), real[:1] + 1e-6 * samples(200, 4, 1), no_skill=NO_SKILL)
    assert entry["manifold_precision"]["value"] == 1
    assert entry["manifold_precision"]["ci95"][0] < 0.95


def test_the_jackknife_leaves_out_whole_blocks():
    """A kernel distance from sums over blocks is that of the samples that are left."""
    real, synthetic = samples(600, 4, 0), samples(520, 4, 1, 0.3)  # more than fit into a kernel matrix at once
    real_blocks, synthetic_blocks = np.arange(600) % 3, np.arange(520) % 4
    groups, own = np.arange(600) % 150, np.arange(520)  # a patient's samples lie in one block
    real_blocks = groups % 3
    kernels = KernelSums(real, groups, real_blocks, synthetic, own, synthetic_blocks)
    found = kernels.distance(np.array([1.0, 0, 1]), np.array([0.0, 1, 1, 1]))
    kept, synthetic_kept = real_blocks != 1, synthetic_blocks != 0
    expected = kernel_distance(real[kept], groups[kept], synthetic[synthetic_kept], own[synthetic_kept])
    assert found == pytest.approx(expected)


def patients(generator, count, dim, alike=0.95, images=4):
    """Features with variance 1, of which the share `alike` is the patient's, and the patients."""
    groups = np.repeat(np.arange(count), images)
    own = generator.standard_normal((count, dim))[groups]
    return np.sqrt(alike) * own + np.sqrt(1 - alike) * generator.standard_normal((len(groups), dim)), groups


def test_kernel_distance_is_that_of_all_pairs_of_different_patients():
    generator = np.random.default_rng(0)
    (real, groups), (synthetic, others) = patients(generator, 9, 3, images=3), patients(generator, 6, 3, images=2)

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    def within(part, own):
        pairs = [(i, j) for i in range(len(part)) for j in range(len(part)) if own[i] != own[j]]
        return np.mean([kernel(part[i], part[j]) for i, j in pairs])

    across = np.mean([kernel(x, y) for x in real for y in synthetic])
    expected = within(real, groups) + within(synthetic, others) - 2 * across
    assert kernel_distance(real, groups, synthetic, others) == pytest.approx(expected)
    assert np.isnan(kernel_distance(real[:3], groups[:3], synthetic, others))


def test_a_perfect_generator_has_no_distance_from_patients_of_several_images():
    """With pairs of one patient, 40 patients of 4 alike images give .12, and .26 fewer images lie in the manifold."""
    found, before, reference = [], [], []
    for number in range(20):
        generator = np.random.default_rng(number)
        real, groups = patients(generator, 40, 16)
        synthetic = generator.standard_normal((160, 16))
        independent = generator.standard_normal((160, 16))
        for kept, sample, own in (
            (found, real, groups),
            (before, real, single(real)),
            (reference, independent, single(real)),
        ):
            kernel = kernel_distance(sample, own, synthetic, single(synthetic))
            kept.append((kernel, *manifold(sample, own, synthetic, single(synthetic)).metrics().values()))
    (kid, precision, *_, coverage), (old_kid, old_precision, *_, old_coverage), (_, usual, *_, all_covered) = (
        np.mean(kept, axis=0) for kept in (found, before, reference)
    )
    assert abs(kid) < 4 * np.std([each[0] for each in found]) / np.sqrt(20)
    assert old_kid > 0.08
    assert usual - precision < 0.12 < 0.2 < usual - old_precision
    assert all_covered - coverage < 0.06 < 0.15 < all_covered - old_coverage


@pytest.mark.proof
@pytest.mark.parametrize("shift", [0.0, 0.5])
@pytest.mark.parametrize("patients", [60, 100])
@pytest.mark.parametrize("dim", [8, 32])
def test_coverage(dim, patients, shift):
    """Four images per patient, half of their variance the patient's. Where nothing differs, intervals may be wide."""
    rounds, found = 200, {name: [] for name in SYNTHESIS_METRICS}
    groups = np.repeat(np.arange(patients), 4)
    for number in range(rounds):
        generator = np.random.default_rng(number)
        own = generator.standard_normal((patients, dim))[groups]
        real = (own + generator.standard_normal((4 * patients, dim))) / np.sqrt(2)
        synthetic = shift + generator.standard_normal((4 * patients, dim))
        for name, entry in synthesis_metrics(real, groups, synthetic, no_skill=NO_SKILL, seed=number).items():
            found[name].append((entry["value"], *entry["ci95"]))
    for name, entries in found.items():
        values, lows, highs = np.array(entries).T
        expected = values.mean()
        covered = float(((lows <= expected) & (expected <= highs)).mean())
        width = float((highs - lows).mean() / (2 * 1.96 * values.std()))
        print(
            f"{dim} features, {patients} patients, shift {shift}: {name} {covered:.3f}, {width:.2f} as wide as needed"
        )
        assert covered >= 0.90, name
        assert 0.85 < width < (1.4 if shift else 1.8), name
