import numpy as np
import pytest

from vesalius.metrics.synthesis.memorisation import LEVEL, memorisation

DIM = 12


def cohort(patients, seed, images=3):
    """Images of patients who differ more than their images do."""
    generator = np.random.default_rng(seed)
    own = generator.standard_normal((patients, DIM))
    groups = np.repeat(np.arange(patients), images)
    return own[groups] + 0.5 * generator.standard_normal((len(groups), DIM)), groups


def compare(train_cohort, held_out_cohort, synthetic, synthetic_groups=None, control=None):
    (train, train_groups), (held_out, groups) = train_cohort, held_out_cohort
    return memorisation(train, train_groups + 1_000, held_out, groups, synthetic, synthetic_groups, control)


def test_a_generator_that_copies_is_flagged_and_its_sources_are_found():
    train = cohort(100, 0)
    chosen = np.random.default_rng(2).integers(0, 300, 120)
    synthetic = train[0][chosen] + 0.02 * np.random.default_rng(3).standard_normal((120, DIM))
    found = compare(train, cohort(40, 1), synthetic)
    assert found.entry["flagged"]
    assert found.entry["p_value"] < LEVEL
    assert found.entry["value"] > 0.95
    assert found.entry["training_nearest"]["value"] == 1
    assert (found.nearest == chosen).all()
    assert np.allclose(found.distance, np.linalg.norm(synthetic - train[0][chosen], axis=1))


@pytest.mark.parametrize(("copies", "scale"), [(60, 1.0), (36, 1.3), (24, 1.0)])
def test_some_copies_among_new_images_are_flagged_also_where_those_are_far_from_all(copies, scale):
    train = cohort(100, 0)
    new, _ = cohort(80, 2)
    synthetic = np.concatenate([scale * new[copies:240], train[0][:copies]])
    assert compare(train, cohort(100, 1), synthetic).entry["flagged"]


def test_held_out_real_images_and_worse_ones_are_not():
    train, held_out = cohort(100, 0), cohort(40, 1)
    others, _ = cohort(40, 2)
    found = compare(train, held_out, others)
    assert not found.entry["flagged"]
    assert abs(found.entry["value"] - 0.5) < 0.15
    assert not compare(train, held_out, 3 * others).entry["flagged"]


@pytest.mark.parametrize("scale", [0.3, 0.6, 0.8])
def test_images_near_to_everything_are_no_copies(scale):
    """As blurred ones are."""
    entry = compare(cohort(100, 0), cohort(100, 1), scale * cohort(100, 2)[0]).entry
    assert entry["p_value"] < LEVEL
    assert not entry["flagged"]


def test_the_error_of_a_training_share_is_that_of_drawing_the_training_patients():
    """Each patient has one image on a line, and synthetic images lie at those of random patients."""
    generator = np.random.default_rng(0)
    owners = generator.choice(30, 200, p=generator.dirichlet(np.ones(30)))
    shares = []
    for _ in range(20_000):
        shares.append(np.isin(owners, generator.permutation(30)[:18]).mean())
    places = np.arange(30.0)[:, None]
    real = (places[:18], np.arange(18)), (places[18:], np.arange(18, 30))
    found = memorisation(*real[0], *real[1], places[owners])
    share, entry = found.shares[0], found.entry["training_nearest"]
    assert share.chance == pytest.approx(np.mean(shares), abs=0.005)
    assert share.error == pytest.approx(np.std(shares), rel=0.02)
    assert entry["value"] == (owners < 18).mean()
    assert entry["p_value"] == pytest.approx(np.mean(np.array(shares) >= entry["value"]), abs=0.05)


def test_features_that_know_the_training_images_are_no_copying_where_a_control_shows_that():
    """Such as those of a net that learned from them: they lie closer together, and so nearer to anything."""
    train, groups = cohort(300, 0)
    held_out, control, (others, _) = (cohort(200, seed) for seed in (1, 2, 3))
    known = 0.8 * train, groups
    assert compare(known, held_out, others).entry["flagged"]
    entry = compare(known, held_out, others, control=control).entry
    assert not entry["flagged"]
    assert entry["closest"]["no_skill"] > 300 / 500
    copies = np.concatenate([others[:300], known[0][:300]])
    assert compare(known, held_out, copies, control=control).entry["flagged"]
    unknown = compare((train, groups), held_out, others, control=control).entry
    assert unknown == compare((train, groups), held_out, others).entry


def test_intervals_hold_the_value_and_are_of_the_number_of_patients():
    from scipy.stats import binomtest

    train = cohort(100, 0)
    few, many = (compare(train, cohort(count, 1), cohort(80, 2)[0]).entry for count in (10, 80))
    for entry in (few, few["training_nearest"], few["closest"], many):
        low, high = entry["ci95"]
        assert 0 <= low < entry["value"] < high <= 1
    assert np.ptp(many["ci95"]) < np.ptp(few["ci95"])
    copied = compare(train, cohort(40, 1), train[0]).entry
    assert copied["value"] == 1
    oracle = binomtest(40, 40).proportion_ci(0.95, method="wilson")
    assert copied["ci95"] == pytest.approx([oracle.low, oracle.high])


def test_patients_who_are_all_nearest_to_equally_many_images_leave_no_error():
    from scipy.stats import binomtest

    pair = np.array([[0.0], [10.0]]), np.array([0, 1])
    entry = compare(pair, (pair[0] + 100, pair[1]), np.array([[0.5], [10.5], [100.5], [110.5]])).entry
    found = entry["training_nearest"]
    assert (found["value"], found["p_value"]) == (0.5, 1.0)
    oracle = binomtest(2, 4).proportion_ci(0.95, method="wilson")
    assert found["ci95"] == pytest.approx([oracle.low, oracle.high])


def test_the_statistic_is_that_of_mann_and_whitney():
    from scipy.stats import mannwhitneyu

    train, train_groups = cohort(50, 0)
    held_out, groups = cohort(40, 1, images=1)
    synthetic, _ = cohort(30, 2, images=1)
    found = compare((train, train_groups), (held_out, groups), 0.8 * synthetic).entry
    near = [np.linalg.norm(part[:, None] - train[None], axis=2).min(1) for part in (held_out, 0.8 * synthetic)]
    oracle = mannwhitneyu(near[0], near[1], alternative="greater")
    assert found["value"] == pytest.approx(oracle.statistic / (40 * 30))
    assert found["p_value"] == pytest.approx(oracle.pvalue, rel=0.5)


def test_similar_images_of_another_cohort_count_by_patient():
    train, held_out = cohort(100, 0), cohort(40, 1)
    others, other_groups = cohort(8, 2, images=30)
    by_patient = compare(train, held_out, others, other_groups).entry
    by_image = compare(train, held_out, others).entry
    assert by_patient["value"] == by_image["value"]
    assert abs(by_patient["p_value"] - 0.5) < abs(by_image["p_value"] - 0.5)


def test_non_finite_features_have_a_reason():
    train = cohort(10, 0)
    broken = train[0].copy()
    broken[0, 0] = np.nan
    entry = compare(train, cohort(10, 1), broken).entry
    assert (entry["value"], entry["flagged"]) == (None, False)
    assert "not finite" in entry["reason"]


def test_one_patient_is_too_few():
    train = cohort(10, 0)
    entry = compare(train, (train[0][:5], np.zeros(5)), train[0][:5]).entry
    assert entry["value"] is None
    assert "one patient" in entry["reason"]
    assert not entry["flagged"]


@pytest.mark.proof
@pytest.mark.parametrize("images", [1, 3])
def test_false_alarms_are_as_rare_as_the_level(images):
    """Another cohort of patients, or images that are independent, given as synthetic ones."""
    rounds, alarms = 1_000, {"nearer": 0, "training_nearest": 0, "closest": 0, "flagged": 0}
    for number in range(rounds):
        synthetic, synthetic_groups = cohort(120 // images, 3 * number + 2, images=images)
        entry = compare(cohort(60, 3 * number), cohort(40, 3 * number + 1), synthetic, synthetic_groups).entry
        found = {name: entry[name]["p_value"] for name in ("training_nearest", "closest")} | {
            "nearer": entry["p_value"]
        }
        for name, p_value in found.items():
            alarms[name] += p_value < 0.05
        alarms["flagged"] += entry["flagged"]
    rates = {name: count / rounds for name, count in alarms.items()}
    print(f"false alarms at .05, {images} synthetic images per patient, and flagged: {rates}")
    assert 0.03 < rates["nearer"] < 0.07
    assert rates["training_nearest"] < 0.07
    assert rates["closest"] < 0.07
    assert rates["flagged"] < 2 * LEVEL
