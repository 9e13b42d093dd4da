"""Images of another modality, plane or size of pixels than the training images are refused, where files state it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

import vesalius
from dicom_maker import CORONAL, MR_IMAGE, write_cohort, write_enhanced, write_image
from small_runs import train_in
from store_facts import facts_of
from vesalius.config.build import build
from vesalius.config.errors import InputError
from vesalius.data.formats.acquisition import Acquisition, AcquisitionRange
from vesalius.data.formats.dicom.headers import read_image_header
from vesalius.data.store.store import Store
from vesalius.deploy.bundle.export import export_run
from vesalius.deploy.contract import InputContract
from vesalius.deploy.inputs import find_inputs

MR = AcquisitionRange(("MR",), ("MONOCHROME2",), ("axial",), (0.8, 1.0))
SIZE = (32, 32)
PIXELS = np.random.default_rng(0).integers(0, 1000, SIZE).astype(np.uint16)


def axial(side: float, **changes) -> Acquisition:
    return replace(Acquisition("MR", "MONOCHROME2", "axial", (32 * side, 32 * side)), **changes)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (axial(0.9), None),
        (axial(0.41), None),
        (axial(1.99), None),
        (axial(0.9, photometric="MONOCHROME1"), None),  # inverted on reading
        (Acquisition(), None),  # a PNG
        (axial(0.9, modality="CT"), "modality CT, and the training images were MR"),
        (axial(0.9, plane="coronal"), "is coronal"),
        (axial(0.39), "has pixels of 0.39 mm at 32x32, and those of the training images had 0.8 to 1 mm"),
        (axial(2.01), "2.01 mm"),
    ],
)
def test_what_a_header_states_is_compared_with_the_training_images(header, problem) -> None:
    found = MR.problem(header, SIZE)
    assert found is None if problem is None else problem in str(found)
    assert AcquisitionRange().problem(header, SIZE) is None


def test_a_range_spans_its_images_and_the_two_codes_of_radiographs_are_one_modality() -> None:
    images = [axial(0.8), axial(1.0), Acquisition("CT"), Acquisition()]
    found = AcquisitionRange.of(images, SIZE)
    assert found.modalities == ("CT", "MR")
    assert found.spacing == pytest.approx((0.8, 1.0))
    parts = [AcquisitionRange.of([image], SIZE) for image in images]
    assert AcquisitionRange.union(parts) == found
    assert AcquisitionRange.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    radiograph = AcquisitionRange(modalities=("DX",))
    assert radiograph.problem(Acquisition("CR"), SIZE) is None
    assert "MG" in str(radiograph.problem(Acquisition("MG"), SIZE))


@pytest.mark.parametrize("change", [{"spacing": [1, 0]}, {"spacing": [math.nan, 1]}, {"modalities": ["x" * 99]},
                                    {"planes": ["oblique"]}, {"planes": "axial"}])  # fmt: skip
def test_a_damaged_record_is_refused(change) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        AcquisitionRange.from_dict({**MR.to_dict(), **change})


def test_headers_state_plane_and_size_as_pydicom_and_nibabel_read_them(tmp_path) -> None:
    file = write_image(tmp_path / "a.dcm", PIXELS[:20], orientation=CORONAL, PixelSpacing=[0.5, 0.25])
    (frame,) = read_image_header(file, "a.dcm").frames
    assert frame.acquisition == Acquisition("MR", "MONOCHROME2", "coronal", (10.0, 8.0))
    diagonal = [math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0, 1.0, 0.0]
    oblique = write_image(tmp_path / "b.dcm", PIXELS, orientation=diagonal, PixelSpacing=None)
    (frame,) = read_image_header(oblique, "b.dcm").frames
    assert frame.acquisition == Acquisition("MR", "MONOCHROME2")
    enhanced = write_enhanced(tmp_path / "c.dcm", np.stack([PIXELS, PIXELS])[None])
    assert {frame.acquisition.plane for frame in read_image_header(enhanced, "c.dcm").frames} == {"axial"}
    voxels = np.zeros((12, 14, 3), np.uint8)
    nib.save(nib.Nifti1Image(voxels, np.diag([-0.5, 2.0, 4.0, 1.0])), tmp_path / "v.nii.gz")
    source = {"_target_": "vesalius.data.sources.Nifti", "root": str(tmp_path), "pattern": "*.nii.gz"}
    for plane, extent in (("axial", (28.0, 6.0)), ("coronal", (12.0, 6.0)), ("sagittal", (12.0, 28.0))):
        table = build({**source, "plane": plane}, "data.source").samples()
        assert set(table["_acquisition"]) == {Acquisition(plane=plane, extent=extent)}


def test_files_of_another_modality_are_refused_by_name(tmp_path) -> None:
    write_cohort(tmp_path / "data", patients=3)
    options = {
        "_target_": "vesalius.data.sources.Dicom",
        "root": str(tmp_path / "data"),
        "labels": None,
        "target": None,
    }
    source = build(options, "data.source")
    table = source.samples()
    known = AcquisitionRange.of(table["_acquisition"], SIZE)
    assert known == AcquisitionRange(("MR",), ("MONOCHROME2",), ("axial",), (1.0, 1.0))
    store = Store.open(source, table, cache_dir=tmp_path / "cache")
    contract = InputContract.of_run({"source": options}, facts_of(store), known.to_dict())
    write_image(tmp_path / "new" / "ct.dcm", PIXELS, modality="CT", window=(500.0, 1000.0))
    write_image(tmp_path / "new" / "mr.dcm", PIXELS, number=2, window=(500.0, 1000.0))
    Image.fromarray(PIXELS).save(tmp_path / "new" / "mr.png")
    (tmp_path / "table.csv").write_text("file\nnew/ct.dcm\nnew/mr.dcm\nnew/mr.png\n")
    for ct, mr, png in (find_inputs(tmp_path / "new", contract)[0],
                        find_inputs(tmp_path / "table.csv", contract, "file")[0]):  # fmt: skip
        with pytest.raises(InputError, match=r"ct\.dcm is of the modality CT, .* MR: give images of that modality"):
            ct.read(contract)
        assert mr.read(contract).images.shape == png.read(contract).images.shape == (1, 1, *SIZE)


@pytest.mark.slow
def test_a_run_keeps_the_record_and_its_bundle_has_it(tmp_path: Path) -> None:
    write_cohort(tmp_path / "data", patients=8)
    write_image(tmp_path / "ct.dcm", PIXELS, modality="CT", sop_class=MR_IMAGE, window=(500.0, 1000.0))
    overrides = ["data=dicom", "model=autoencoder", "trainer.max_epochs=1", "trainer=cpu", "logger=none"]
    overrides += [f"data.source.root={tmp_path / 'data'}", "data.source.labels=null", "data.source.target=null"]
    run = train_in(tmp_path / "run", [*overrides, "data.image_size=32", "evaluation.extractor=null"])
    known = AcquisitionRange(("MR",), ("MONOCHROME2",), ("axial",), (1.0, 1.0))
    assert AcquisitionRange.from_dict(run.provenance["acquisition"]) == known
    export_run(run.path, tmp_path / "bundle")
    card = (tmp_path / "bundle" / "model_card.md").read_text()
    assert "| modality (DICOM) | MR |" in card
    for model in ("run", "bundle"):
        loaded = vesalius.load(tmp_path / model)
        assert loaded.contract.acquisition == known
        (problem,) = loaded.predict(tmp_path / "ct.dcm")["problem"]
        assert problem.startswith("ct.dcm is of the modality CT")
    checkpoint = torch.load(run.best, weights_only=True)  # as runs were before there was such a record
    del checkpoint["provenance"]["acquisition"]
    torch.save(checkpoint, run.best)
    assert vesalius.load(run.path).predict(tmp_path / "ct.dcm")["problem"].isna().all()
