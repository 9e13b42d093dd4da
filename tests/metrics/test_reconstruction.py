"""Errors of images against other implementations; means with intervals that cover as often as they state."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from vesalius.config.errors import InputError
from vesalius.metrics.names import RECONSTRUCTION_METRICS
from vesalius.metrics.reconstruction import (
    MAX_PSNR,
    image_errors,
    mean_image_errors,
    paired_reconstruction_difference,
    reconstruction_metrics,
)

NO_SKILL = {"psnr": 12.0, "ssim": 0.1, "mse": 0.06}


def make_pair(shape, *, noise=0.1, seed=0):
    """Smooth images and noisy ones, 0..1."""
    random = np.random.default_rng(seed)
    original = random.random(shape).cumsum(-1).cumsum(-2)
    original /= original.max(axis=(1, 2, 3), keepdims=True)
    return original, np.clip(original + noise * random.standard_normal(shape), 0, 1)


def errors(original, reconstruction):
    return image_errors(torch.from_numpy(original), torch.from_numpy(reconstruction))


def make_table(patients=30, per=3, *, seed=0):
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), random.integers(1, per + 1, patients))
    psnr = 25 + 2 * random.standard_normal(patients)[groups] + random.standard_normal(len(groups))
    columns = {"psnr": psnr, "ssim": 1 - 0.1 * random.random(len(groups)), "mse": 10 ** (-psnr / 10)}
    who = {"sample_id": [f"s{k}" for k in range(len(groups))], "group_id": [f"p{g}" for g in groups]}
    return pd.DataFrame(who | columns)


@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (2, 3, 16, 40), (2, 1, 11, 11), (2, 1, 8, 20), (2, 1, 3, 3)])
def test_errors_are_those_of_scikit_image(shape):
    original, reconstruction = make_pair(shape)
    found = errors(original, reconstruction)
    radius = min(5, (min(shape[-2:]) - 1) // 2)
    for k in range(shape[0]):
        a, b = original[k], reconstruction[k]
        assert found["mse"][k] == pytest.approx(((a - b) ** 2).mean(), rel=1e-12)
        assert found["psnr"][k] == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1), rel=1e-9)
        window = {"gaussian_weights": True, "sigma": 0.3 * radius, "use_sample_covariance": False}
        mirrored = [np.pad(image, ((0, 0), (radius, radius), (radius, radius)), mode="reflect") for image in (a, b)]
        expected = structural_similarity(*mirrored, data_range=1, channel_axis=0, **window)  # without its border
        assert found["ssim"][k] == pytest.approx(expected, rel=1e-9)
    assert {name: values.dtype for name, values in found.items()} == dict.fromkeys(RECONSTRUCTION_METRICS, np.float64)


def test_an_image_is_scored_by_itself():
    original, reconstruction = make_pair((6, 1, 14, 14))
    together, single = errors(original, reconstruction), errors(original[4:5], reconstruction[4:5])
    for name in RECONSTRUCTION_METRICS:
        assert together[name].shape == (6,)
        assert together[name][4] == pytest.approx(single[name][0], rel=1e-12)


def test_a_perfect_image_has_finite_errors():
    original, _ = make_pair((2, 1, 12, 12))
    found = errors(original, original.copy())
    np.testing.assert_array_equal(found["psnr"], MAX_PSNR)
    np.testing.assert_allclose(found["ssim"], 1)
    np.testing.assert_array_equal(found["mse"], 0)


def test_tensors_of_half_precision_are_compared_in_64_bits():
    original = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)).half()
    drawn = (original + 0.01).requires_grad_()
    expected = ((original.double() - drawn.detach().double()) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(image_errors(original, drawn)["mse"], expected, rtol=1e-12)


def test_images_without_structure_are_refused():
    with pytest.raises(InputError, match=r"2x9 pixels .*model\.preprocess\.image_size"):
        image_errors(torch.zeros(1, 1, 2, 9), torch.zeros(1, 1, 2, 9))


def test_the_mean_image_is_scored_as_any_reconstruction():
    images, _ = make_pair((300, 1, 12, 12))
    mean = images[:50].mean(axis=0)
    expected = errors(images, np.repeat(mean[None], 300, axis=0))
    found = mean_image_errors(mean.astype(np.float32), images.astype(np.float32))
    for name in RECONSTRUCTION_METRICS:
        assert found[name] == pytest.approx(expected[name].mean(), rel=1e-5)


def test_with_one_image_per_patient_the_interval_is_students():
    table = make_table(per=1)
    found = reconstruction_metrics(table, no_skill=NO_SKILL)
    assert list(found) == list(RECONSTRUCTION_METRICS)
    low, high = stats.t.interval(0.95, 29, table["psnr"].mean(), stats.sem(table["psnr"]))
    assert found["psnr"]["ci95"] == pytest.approx([low, high], rel=1e-9)
    assert found["psnr"]["value"] == pytest.approx(table["psnr"].mean())
    for name in RECONSTRUCTION_METRICS:
        assert found[name]["no_skill"] == NO_SKILL[name]
        assert (found[name]["n"], found[name]["groups"]) == (30, 30)
    low, high = found["mse"]["ci95"]
    assert low * high == pytest.approx(found["mse"]["value"] ** 2)  # symmetric on the log scale
    json.dumps(found)


def test_copies_of_images_do_not_narrow_the_interval():
    table = make_table(per=1)
    copies = pd.concat([table.assign(sample_id=table["sample_id"] + f"_{k}") for k in range(4)]).sample(
        frac=1, random_state=0
    )
    once, often = (reconstruction_metrics(each, no_skill=NO_SKILL) for each in (table, copies))
    for name in RECONSTRUCTION_METRICS:
        assert often[name]["ci95"] == pytest.approx(once[name]["ci95"], rel=1e-9)
        assert (often[name]["n"], often[name]["groups"]) == (120, 30)


def test_intervals_stay_where_the_numbers_can_be():
    table = make_table(2, 1).assign(mse=[1e-6, 0.9], ssim=[0.999, -0.9], psnr=[0.5, 60])
    found = reconstruction_metrics(table, no_skill=NO_SKILL)
    for name, (least, most) in {"mse": (0, 1), "ssim": (-1, 1), "psnr": (0, MAX_PSNR)}.items():
        low, high = found[name]["ci95"]
        assert least <= low < found[name]["value"] < high <= most
    assert found["mse"]["ci95"][0] > 0


def test_perfect_images_have_a_value_and_equal_errors_have_no_interval():
    perfect = make_table(5, 1).assign(psnr=MAX_PSNR, ssim=1.0, mse=0.0)
    for name, value in (("psnr", MAX_PSNR), ("ssim", 1.0), ("mse", 0.0)):
        assert reconstruction_metrics(perfect, no_skill=NO_SKILL)[name]["ci95"] == [value, value]
    equal = reconstruction_metrics(perfect.assign(psnr=20.1, mse=0.01), no_skill=NO_SKILL)
    for name in ("psnr", "mse"):
        assert equal[name]["value"] is None
        assert equal[name]["ci95"] is None
        assert "same error" in equal[name]["reason"]


def test_one_patient_has_no_interval():
    table = make_table(1, 5).assign(group_id="p0")
    for metric in (
        *reconstruction_metrics(table, no_skill=NO_SKILL).values(),
        paired_reconstruction_difference(table, table, "psnr"),
    ):
        assert metric["value"] is None
        assert metric["ci95"] is None
        assert metric["reason"].startswith("one patient only")


def test_a_difference_is_paired_by_sample():
    table = make_table()
    better = table.assign(psnr=table["psnr"] + 1 + 0.01 * np.random.default_rng(1).standard_normal(len(table)))
    found = paired_reconstruction_difference(better.sample(frac=1, random_state=0), table, "psnr")
    low, high = found["ci95"]
    assert found["value"] == pytest.approx((better["psnr"] - table["psnr"]).mean())
    assert high - low < 0.02  # where the single means are known within a decibel
    assert found["no_skill"] == 0
    back = paired_reconstruction_difference(table, better, "psnr")
    assert back["ci95"] == pytest.approx([-high, -low])
    same = paired_reconstruction_difference(table, table, "psnr")
    assert (same["value"], same["ci95"]) == (0, [0, 0])


def test_tables_of_other_samples_are_refused():
    table = make_table()
    for other in (table.iloc[1:], table.assign(group_id="x"), table.assign(sample_id=table["sample_id"] + "x")):
        with pytest.raises(InputError, match="differ in samples or patients"):
            paired_reconstruction_difference(table, other, "psnr")
    with pytest.raises(InputError, match="lpips: unknown; use one of psnr, ssim, mse"):
        paired_reconstruction_difference(table, table, "lpips")


def test_a_broken_table_is_refused_with_all_that_is_wrong():
    table = make_table()
    with pytest.raises(InputError, match="no column group_id, ssim"):
        reconstruction_metrics(table.drop(columns=["ssim", "group_id"]), no_skill=NO_SKILL)
    with pytest.raises(InputError, match="has no rows"):
        reconstruction_metrics(table.iloc[:0], no_skill=NO_SKILL)
    broken = table.astype({"ssim": object})
    broken.loc[1, "sample_id"] = "s0"
    broken.loc[2, "group_id"] = None
    broken.loc[3, "psnr"] = np.inf
    broken.loc[[4, 5], "ssim"] = "bad"
    with pytest.raises(InputError) as caught:
        reconstruction_metrics(broken, no_skill=NO_SKILL)
    for problem in ("'s0' appears twice", "1 rows have no group_id", "1 rows have no finite number in psnr", "2 rows"):
        assert problem in str(caught.value)


def simulated(patients, repeats, random, *, correlation=0.6):
    """Errors whose true means are known: normal in decibels, log-normal as `mse` and as 1 - `ssim`."""
    groups = np.repeat(np.arange(patients), random.integers(1, repeats + 1, patients))

    def tied():
        of_patient, of_image = random.standard_normal(patients)[groups], random.standard_normal(len(groups))
        return np.sqrt(correlation) * of_patient + np.sqrt(1 - correlation) * of_image

    spread = 0.6
    mean = np.exp(spread**2 / 2)
    columns = {
        "psnr": 26 + 2.5 * tied(),
        "ssim": 1 - 0.1 * np.exp(spread * tied()) / mean,
        "mse": 0.003 * np.exp(spread * tied()) / mean,
    }
    return pd.DataFrame({"sample_id": range(len(groups)), "group_id": groups} | columns)


TRUE = {"psnr": 26, "ssim": 0.9, "mse": 0.003}


@pytest.mark.proof
@pytest.mark.parametrize("repeats", [1, 5])
@pytest.mark.parametrize("patients", [20, 60])
def test_coverage(patients, repeats):
    """How often the interval holds the true mean; single and paired."""
    sets = 4000
    hits = dict.fromkeys([*RECONSTRUCTION_METRICS, "difference"], 0)
    for seed in range(sets):
        random = np.random.default_rng(seed)
        table = simulated(patients, repeats, random)
        for name, metric in reconstruction_metrics(table, no_skill=NO_SKILL).items():
            hits[name] += metric["ci95"][0] <= TRUE[name] <= metric["ci95"][1]
        worse = table.assign(psnr=table["psnr"] - 0.3 + random.standard_normal(patients)[table["group_id"]])
        low, high = paired_reconstruction_difference(table, worse, "psnr")["ci95"]
        hits["difference"] += low <= 0.3 <= high
    shares = {name: count / sets for name, count in hits.items()}
    print(f"{patients} patients, 1 to {repeats} images:", {name: f"{share:.1%}" for name, share in shares.items()})
    assert all((0.93 if patients == 60 else 0.91) < share < 0.97 for share in shares.values())
