"""What several images of one patient do to the distances of a generator; `pytest -m proof -s`."""

import numpy as np
import pytest

from vesalius.metrics.names import SYNTHESIS_METRICS
from vesalius.metrics.synthesis.metrics import synthesis_metrics, synthesis_values

pytestmark = pytest.mark.proof

STUDIES = 100
NO_SKILL = dict.fromkeys(SYNTHESIS_METRICS)


def patients(generator, count, images, dim, alike):
    """Features with variance 1, of which the share `alike` is the patient's, and the patients."""
    groups = np.repeat(np.arange(count), images)
    own = generator.standard_normal((count, dim))[groups]
    return np.sqrt(alike) * own + np.sqrt(1 - alike) * generator.standard_normal((len(groups), dim)), groups


@pytest.mark.parametrize("dim", [8, 64])
@pytest.mark.parametrize(("count", "images", "alike"), [(160, 1, 0.0), (40, 4, 0.5), (40, 4, 0.95), (20, 8, 0.95)])
def test_a_perfect_generator_and_the_floor(count, images, alike, dim):
    """160 real images, and as many of the same distribution: drawn one by one, or those of a training set."""
    kids = {}
    for arm in ("perfect generator", "training images"):
        before, found, above = [], [], 0
        for number in range(STUDIES):
            generator = np.random.default_rng(number)
            real, groups = patients(generator, count, images, dim, alike)
            if arm == "perfect generator":
                synthetic, owners = generator.standard_normal(real.shape), None
            else:  # as many images of four times the patients, at random
                train, of_train = patients(generator, 4 * count, images, dim, alike)
                rows = generator.permutation(len(train))[: len(real)]
                synthetic, owners = train[rows], of_train[rows]
            before.append(list(synthesis_values(real, np.arange(len(real)), synthetic).values()))
            entries = synthesis_metrics(
                real, groups, synthetic, no_skill=NO_SKILL, synthetic_groups=owners, seed=number
            )
            found.append([entry["value"] for entry in entries.values()])
            above += entries["kid"]["ci95"][0] > 0
        print(f"\n{count} patients of {images} images, alike {alike}, {dim} features, {arm}:")
        for name, old, new in zip(SYNTHESIS_METRICS, np.mean(before, axis=0), np.mean(found, axis=0), strict=True):
            print(f"  {name}: {old:.4f} with pairs of one patient, {new:.4f} without")
        print(f"  interval of kid above 0 in {above / STUDIES:.2f}")
        values = np.array(found)[:, SYNTHESIS_METRICS.index("kid")]
        kids[arm] = values.mean(), values.std() / np.sqrt(STUDIES)
        assert abs(kids[arm][0]) < 4 * kids[arm][1]
        assert above / STUDIES <= 0.10
