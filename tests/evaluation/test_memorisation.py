import numpy as np
import pytest

from vesalius.evaluation.memorisation import LEVEL, memorisation

DIM = 12


def cohort(patients, seed, images=3):
    """Images of patients who differ more than their images do."""
    generator = np.random.default_rng(seed)
    own = generator.standard_normal((patients, DIM))
    groups = np.repeat(np.arange(patients), images)
    return own[groups] + 0.5 * generator.standard_normal((len(groups), DIM)), groups


def test_a_generator_that_copies_is_flagged_and_its_sources_are_found():
    train, _ = cohort(100, 0)
    held_out, groups = cohort(40, 1)
    chosen = np.random.default_rng(2).integers(0, len(train), 120)
    made = train[chosen] + 0.02 * np.random.default_rng(3).standard_normal((120, DIM))
    found = memorisation(train, held_out, groups, made)
    assert found.told["flagged"]
    assert found.told["p_value"] < LEVEL
    assert found.told["value"] > 0.95
    assert (found.nearest == chosen).all()
    assert np.allclose(found.apart, np.linalg.norm(made - train[chosen], axis=1))


def test_some_copies_among_new_images_are_flagged():
    train, _ = cohort(100, 0)
    held_out, groups = cohort(60, 1)
    new, _ = cohort(40, 2)
    made = np.concatenate([new[:120], train[:60]])
    assert memorisation(train, held_out, groups, made).told["flagged"]


def test_held_out_real_images_and_worse_ones_are_not():
    train, _ = cohort(100, 0)
    held_out, groups = cohort(40, 1)
    others, _ = cohort(40, 2)
    found = memorisation(train, held_out, groups, others)
    assert not found.told["flagged"]
    assert abs(found.told["value"] - 0.5) < 0.15
    assert not memorisation(train, held_out, groups, 3 * others).told["flagged"]


def test_the_statistic_is_that_of_mann_and_whitney():
    from scipy.stats import mannwhitneyu

    train, _ = cohort(50, 0)
    held_out, _ = cohort(40, 1, images=1)
    made, _ = cohort(30, 2, images=1)
    found = memorisation(train, held_out, np.arange(40), 0.8 * made).told
    near = [np.linalg.norm(part[:, None] - train[None], axis=2).min(1) for part in (held_out, 0.8 * made)]
    oracle = mannwhitneyu(near[0], near[1], alternative="greater")
    assert found["value"] == pytest.approx(oracle.statistic / (40 * 30))
    assert found["p_value"] == pytest.approx(oracle.pvalue, rel=0.5)


def test_alike_images_of_another_cohort_count_by_patient():
    train, _ = cohort(100, 0)
    held_out, groups = cohort(40, 1)
    others, other_groups = cohort(8, 2, images=30)
    by_patient = memorisation(train, held_out, groups, others, other_groups).told
    by_image = memorisation(train, held_out, groups, others).told
    assert by_patient["value"] == by_image["value"]
    assert abs(by_patient["p_value"] - 0.5) < abs(by_image["p_value"] - 0.5)


def test_features_that_are_no_numbers_are_said():
    train, _ = cohort(10, 0)
    held_out, groups = cohort(10, 1)
    broken = train.copy()
    broken[0, 0] = np.nan
    told = memorisation(train, held_out, groups, broken).told
    assert (told["value"], told["flagged"]) == (None, False)
    assert "no numbers" in told["reason"]


def test_one_patient_tells_nothing():
    train, _ = cohort(10, 0)
    told = memorisation(train, train[:5], np.zeros(5), train[:5]).told
    assert told["value"] is None
    assert "one patient" in told["reason"]
    assert not told["flagged"]


@pytest.mark.proof
@pytest.mark.parametrize("images", [1, 3])
def test_false_alarms_are_as_rare_as_the_level_says(images):
    """Another cohort of patients, or images that each stand alone, given as made ones."""
    rounds, alarms = 1_000, 0
    for number in range(rounds):
        train, _ = cohort(60, 3 * number)
        held_out, groups = cohort(40, 3 * number + 1)
        made, made_groups = cohort(120 // images, 3 * number + 2, images=images)
        alarms += memorisation(train, held_out, groups, made, made_groups).told["p_value"] < 0.05
    print(f"false alarms at .05, {images} made images of a patient: {alarms / rounds:.3f}")
    assert 0.03 < alarms / rounds < 0.07
