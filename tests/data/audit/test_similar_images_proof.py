"""How far copies are from other patients: the table in `similar_images.py`, on the phantoms that set its threshold."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vesalius.data.audit import similar_images
from vesalius.data.sources.base import Source
from vesalius.data.sources.lesions import Lesions
from vesalius.data.store.store import Store

BILINEAR = Image.Resampling.BILINEAR
COPIES = 150


def as_jpeg(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def there_and_back(image, factor):
    side = round(len(image) * factor)
    return np.asarray(Image.fromarray(image).resize((side, side), BILINEAR).resize(image.shape, BILINEAR))


CHANGES = {
    "JPEG 75": lambda image: as_jpeg(image, 75),
    "JPEG 50": lambda image: as_jpeg(image, 50),
    "to .9 and back": lambda image: there_and_back(image, 0.9),
    "to 1.1 and back": lambda image: there_and_back(image, 1.1),
    "gamma .7": lambda image: (255 * (image / 255) ** 0.7).astype(np.uint8),
}


class GivenImages(Source):
    """Images as given."""

    task, classes = "binary", ("no", "yes")

    def __init__(self, images, table, name):
        self.images, self.table, self.name = images, table, name

    def samples(self):
        return self.table

    def load(self, row):
        return self.images[int(row["_row"])][None]

    def fingerprint(self):
        return self.name


@pytest.mark.proof
@pytest.mark.parametrize(("seed", "size", "patients"), [(102, 28, 500), (101, 64, 500), (103, 128, 150)])
def test_the_threshold_stands_between_copies_and_other_patients(tmp_path, monkeypatch, seed, size, patients):
    monkeypatch.setattr(similar_images, "THRESHOLD", 0.0)
    monkeypatch.setattr(similar_images, "CANDIDATE", 0.0)
    phantom = Lesions(patients=patients, slices=4, image_size=size, seed=seed)
    table = phantom.samples()
    images = np.stack([phantom.load(row)[0] for row in table.to_dict("records")])
    table = pd.DataFrame(
        {"sample_id": table["sample_id"], "group_id": table["group_id"], "_row": np.arange(len(table))}
    )
    table["split"] = np.where(pd.factorize(table["group_id"])[0] % 2, "train", "test")

    def alike(pixels, name):
        store = Store.open(GivenImages(pixels, table, f"{seed} {name}"), table, cache_dir=tmp_path)
        return {(a, b): value for a, b, value in similar_images.nearly_equal_pairs(store, table)}

    others = max(alike(images, "clean").values())
    train, test = (np.flatnonzero(table["split"] == split)[:COPIES] for split in ("train", "test"))
    worst = {}
    for name, change in CHANGES.items():
        copied = images.copy()
        copied[train] = [change(images[row]) for row in test]
        found = alike(copied, name)
        worst[name] = min(found.get(pair, 0.0) for pair in zip(train.tolist(), test.tolist(), strict=True))
    copies = "  ".join(f"{name} {value:.2f}" for name, value in worst.items())
    print(f"\n{size} pixels: other patients {others:.2f}  {copies}")
    assert others < 0.80
    assert min(worst.values()) >= (0.77 if size == 28 else 0.85)
