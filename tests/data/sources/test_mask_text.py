"""`mask_text` of every source that reads files: print is masked, the fingerprint differs, and the audit states it."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from dicom_maker import write_image
from vesalius.config.facts import Facts
from vesalius.data.audit.audit import run_audit
from vesalius.data.audit.audit_input import AuditInput
from vesalius.data.formats.overlays import shows_print
from vesalius.data.sources import Dicom, FrameFolder, ImageFolder, Table
from vesalius.data.store.store import Store
from vesalius.deploy.contract import InputContract
from vesalius.deploy.inputs import from_array


def picture(number):
    """A noisy image of 128 pixels a side; every second one names somebody."""
    noise = np.random.default_rng(number).integers(20, 90, (128, 128)).astype(np.uint8)
    image = Image.fromarray(noise)
    if number % 2:
        ImageDraw.Draw(image).text((6, 6), "HANS MUELLER", fill=255, font=ImageFont.load_default(size=12))
    return image


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("images")
    for number in range(8):
        for path in (f"images/{'ab'[number % 4 // 2]}/p{number}.png", f"clips/a/c{number // 4}/{number % 4}.png"):
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            picture(number).save(place / path)
        write_image(place / f"dicom/p{number}", np.asarray(picture(number)), patient=f"P{number}")
    lines = [f"images/{'ab'[number % 4 // 2]}/p{number}.png,{number},{number % 2}" for number in range(8)]
    (place / "table.csv").write_text("\n".join(["file,patient,label", *lines]))
    return place


SOURCES = {
    "image_folder": lambda place, **more: ImageFolder(str(place / "images"), **more),
    "frame_folder": lambda place, **more: FrameFolder(str(place / "clips"), frame_rate=1, **more),
    "dicom": lambda place, **more: Dicom(str(place / "dicom"), None, None, **more),
    "table": lambda place, **more: Table(str(place / "table.csv"), "file", "label", group="patient", **more),
}


@pytest.mark.parametrize("name", SOURCES)
def test_what_a_source_decodes_shows_no_print(place, name, tmp_path):
    plain, masking = SOURCES[name](place), SOURCES[name](place, mask_text=True)
    rows = plain.samples().to_dict("records")
    assert any(shows_print(plain.image(row)) for row in rows)
    assert not any(shows_print(masking.image(row)) for row in rows)
    assert all(np.array_equal(plain.image(row), plain.load(row)) for row in rows)
    assert plain.fingerprint() != masking.fingerprint()
    store = Store.open(masking, masking.samples(), cache_dir=tmp_path, progress=False)
    first = masking.image(rows[0]) if masking.series else masking.image(rows[0])[None]
    assert np.array_equal(store.images[: len(first)].numpy(), first)


def audited(source, tmp_path):
    table = source.samples().assign(split="train")
    store = Store.open(source, table, cache_dir=tmp_path, progress=False)
    return run_audit(AuditInput(store.table, store, source), [])


def test_the_quick_audit_counts_what_was_masked_and_what_is_left(place, tmp_path, monkeypatch):
    audit = audited(SOURCES["image_folder"](place, mask_text=True), tmp_path)
    (finding,) = (finding for finding in audit.findings if finding.check == "masked_text")
    assert finding.numbers == {"inspected": 8, "left": 0}
    assert finding.count == 4
    assert "text_in_pixels" in audit.report["checked"]
    assert not any(finding.check == "text_in_pixels" for finding in audit.findings)
    monkeypatch.setattr("vesalius.data.sources.base.mask_print", lambda pixels: pixels)  # a mask that misses all
    left = audited(SOURCES["image_folder"](place, mask_text=True), tmp_path)
    (finding,) = (finding for finding in left.findings if finding.check == "text_in_pixels")
    assert "after masking" in finding.message
    assert finding.count == 4


def test_a_model_is_applied_to_masked_files_if_it_learned_from_masked_ones(place):
    facts = Facts(
        task="binary",
        classes=("a", "b"),
        channels=1,
        image_size=(128, 128),
        value_max=255.0,
        train_size=2,
        class_counts=(1, 1),
        mean=(0.5,),
        std=(0.1,),
    )
    image = np.asarray(picture(1))
    for wanted in (True, False):
        source = {"_target_": "vesalius.data.sources.ImageFolder", "mask_text": wanted}
        contract = InputContract.of_run({"source": source}, facts, None)
        assert contract.to_dict()["mask_text"] is wanted
        assert shows_print(from_array(image, "x", contract).images[0]) is not wanted
