import numpy as np
import pytest

from vesalius.metrics.memorisation import LEVEL, _training_share, memorisation

DIM = 12


def cohort(patients, seed, images=3):
    """Images of patients who differ more than their images do."""
    generator = np.random.default_rng(seed)
    own = generator.standard_normal((patients, DIM))
    groups = np.repeat(np.arange(patients), images)
    return own[groups] + 0.5 * generator.standard_normal((len(groups), DIM)), groups


def judged(train_cohort, held_out_cohort, made, made_groups=None, control=None):
    (train, train_groups), (held_out, groups) = train_cohort, held_out_cohort
    return memorisation(train, train_groups + 1_000, held_out, groups, made, made_groups, control)


def test_a_generator_that_copies_is_flagged_and_its_sources_are_found():
    train = cohort(100, 0)
    chosen = np.random.default_rng(2).integers(0, 300, 120)
    made = train[0][chosen] + 0.02 * np.random.default_rng(3).standard_normal((120, DIM))
    found = judged(train, cohort(40, 1), made)
    assert found.told["flagged"]
    assert found.told["p_value"] < LEVEL
    assert found.told["value"] > 0.95
    assert found.told["training_nearest"]["value"] == 1
    assert (found.nearest == chosen).all()
    assert np.allclose(found.apart, np.linalg.norm(made - train[0][chosen], axis=1))


@pytest.mark.parametrize(("copies", "scale"), [(60, 1.0), (36, 1.3), (24, 1.0)])
def test_some_copies_among_new_images_are_flagged_also_where_those_are_far_from_all(copies, scale):
    train = cohort(100, 0)
    new, _ = cohort(80, 2)
    made = np.concatenate([scale * new[copies:240], train[0][:copies]])
    assert judged(train, cohort(100, 1), made).told["flagged"]


def test_held_out_real_images_and_worse_ones_are_not():
    train, held_out = cohort(100, 0), cohort(40, 1)
    others, _ = cohort(40, 2)
    found = judged(train, held_out, others)
    assert not found.told["flagged"]
    assert abs(found.told["value"] - 0.5) < 0.15
    assert not judged(train, held_out, 3 * others).told["flagged"]


@pytest.mark.parametrize("scale", [0.3, 0.6, 0.8])
def test_images_near_to_everything_are_no_copies(scale):
    """As blurred ones are."""
    told = judged(cohort(100, 0), cohort(100, 1), scale * cohort(100, 2)[0]).told
    assert told["p_value"] < LEVEL
    assert not told["flagged"]


def test_a_share_of_training_patients_has_the_error_of_who_was_drawn_to_be_one():
    generator = np.random.default_rng(0)
    owners = generator.choice(30, 200, p=generator.dirichlet(np.ones(30)))
    shares = []
    for _ in range(20_000):
        shares.append(np.isin(owners, generator.permutation(30)[:18]).mean())
    learned = np.isin(owners, np.arange(18))
    found = _training_share(learned, owners, (18, 12))
    assert found.chance == pytest.approx(np.mean(shares), abs=0.005)
    assert found.error == pytest.approx(np.std(shares), rel=0.02)
    assert found.told()["p_value"] == pytest.approx(np.mean(np.array(shares) >= learned.mean()), abs=0.05)


def test_features_that_know_the_training_images_are_no_copying_where_a_control_shows_it():
    """Such as those of a net that learned from them: they lie closer together, and so nearer to anything."""
    train, groups = cohort(300, 0)
    held_out, control, (others, _) = (cohort(200, seed) for seed in (1, 2, 3))
    known = 0.8 * train, groups
    assert judged(known, held_out, others).told["flagged"]
    told = judged(known, held_out, others, control=control).told
    assert not told["flagged"]
    assert told["closest"]["no_skill"] > 300 / 500
    copies = np.concatenate([others[:300], known[0][:300]])
    assert judged(known, held_out, copies, control=control).told["flagged"]
    unknown = judged((train, groups), held_out, others, control=control).told
    assert unknown == judged((train, groups), held_out, others).told


def test_intervals_hold_the_value_and_are_of_the_number_of_patients():
    from scipy.stats import binomtest

    train = cohort(100, 0)
    few, many = (judged(train, cohort(count, 1), cohort(80, 2)[0]).told for count in (10, 80))
    for told in (few, few["training_nearest"], few["closest"], many):
        low, high = told["ci95"]
        assert 0 <= low < told["value"] < high <= 1
    assert np.ptp(many["ci95"]) < np.ptp(few["ci95"])
    copied = judged(train, cohort(40, 1), train[0]).told
    assert copied["value"] == 1
    oracle = binomtest(40, 40).proportion_ci(0.95, method="wilson")
    assert copied["ci95"] == pytest.approx([oracle.low, oracle.high])


def test_patients_who_are_all_nearest_to_equally_many_images_leave_no_error():
    from scipy.stats import binomtest

    pair = np.array([[0.0], [10.0]]), np.array([0, 1])
    told = judged(pair, (pair[0] + 100, pair[1]), np.array([[0.5], [10.5], [100.5], [110.5]])).told
    found = told["training_nearest"]
    assert (found["value"], found["p_value"]) == (0.5, 1.0)
    oracle = binomtest(2, 4).proportion_ci(0.95, method="wilson")
    assert found["ci95"] == pytest.approx([oracle.low, oracle.high])


def test_the_statistic_is_that_of_mann_and_whitney():
    from scipy.stats import mannwhitneyu

    train, train_groups = cohort(50, 0)
    held_out, groups = cohort(40, 1, images=1)
    made, _ = cohort(30, 2, images=1)
    found = judged((train, train_groups), (held_out, groups), 0.8 * made).told
    near = [np.linalg.norm(part[:, None] - train[None], axis=2).min(1) for part in (held_out, 0.8 * made)]
    oracle = mannwhitneyu(near[0], near[1], alternative="greater")
    assert found["value"] == pytest.approx(oracle.statistic / (40 * 30))
    assert found["p_value"] == pytest.approx(oracle.pvalue, rel=0.5)


def test_alike_images_of_another_cohort_count_by_patient():
    train, held_out = cohort(100, 0), cohort(40, 1)
    others, other_groups = cohort(8, 2, images=30)
    by_patient = judged(train, held_out, others, other_groups).told
    by_image = judged(train, held_out, others).told
    assert by_patient["value"] == by_image["value"]
    assert abs(by_patient["p_value"] - 0.5) < abs(by_image["p_value"] - 0.5)


def test_features_that_are_no_numbers_are_said():
    train = cohort(10, 0)
    broken = train[0].copy()
    broken[0, 0] = np.nan
    told = judged(train, cohort(10, 1), broken).told
    assert (told["value"], told["flagged"]) == (None, False)
    assert "no numbers" in told["reason"]


def test_one_patient_tells_nothing():
    train = cohort(10, 0)
    told = judged(train, (train[0][:5], np.zeros(5)), train[0][:5]).told
    assert told["value"] is None
    assert "one patient" in told["reason"]
    assert not told["flagged"]


@pytest.mark.proof
@pytest.mark.parametrize("images", [1, 3])
def test_false_alarms_are_as_rare_as_the_level_says(images):
    """Another cohort of patients, or images that each stand alone, given as made ones."""
    rounds, alarms = 1_000, {"nearer": 0, "training_nearest": 0, "closest": 0, "flagged": 0}
    for number in range(rounds):
        made, made_groups = cohort(120 // images, 3 * number + 2, images=images)
        told = judged(cohort(60, 3 * number), cohort(40, 3 * number + 1), made, made_groups).told
        found = {name: told[name]["p_value"] for name in ("training_nearest", "closest")} | {"nearer": told["p_value"]}
        for name, p_value in found.items():
            alarms[name] += p_value < 0.05
        alarms["flagged"] += told["flagged"]
    rates = {name: count / rounds for name, count in alarms.items()}
    print(f"false alarms at .05, {images} made images of a patient, and flagged: {rates}")
    assert 0.03 < rates["nearer"] < 0.07
    assert rates["training_nearest"] < 0.07
    assert rates["closest"] < 0.07
    assert rates["flagged"] < 2 * LEVEL
