"""Columns to report on, from tables, arrays, headers and the phantoms."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dicom_maker import write_image
from vesalius.config.errors import InputError
from vesalius.data.phantoms.findings import CLASSES
from vesalius.data.samples import MOST_SUBGROUPS, check_samples, subgroup_columns
from vesalius.data.sources.dicom.dicom import Dicom
from vesalius.data.sources.image_folder import ImageFolder
from vesalius.data.sources.lesions import Lesions
from vesalius.data.sources.npz import Npz
from vesalius.data.sources.perfusion import Perfusion


def test_subgroups_of_a_phantom_change_nothing_but_the_table():
    for source in (Lesions, Perfusion):
        without, few = source(patients=16), source(patients=16, subgroups=["site", "sex"])
        many = source(patients=64, subgroups=["sex"])
        table = few.samples()
        assert subgroup_columns(table) == ["site", "sex"]
        assert table.groupby("group_id")["site"].nunique().eq(1).all()
        assert few.fingerprint() == without.fingerprint()
        pd.testing.assert_frame_equal(table[without.samples().columns], without.samples())
        # a patient keeps its values, however many patients there are
        assert table["sex"].tolist() == many.samples()["sex"].tolist()[: len(table)]


def test_a_phantom_names_what_it_has():
    with pytest.raises(InputError, match=r"no scanner.*site"):
        Lesions(patients=16, subgroups=["scanner"])


def test_arrays_of_an_npz(tmp_path):
    site = np.array(["a", "b"] * 4)
    np.savez(tmp_path / "x.npz", images=np.zeros((8, 4, 4), np.uint8), labels=np.arange(8) % 2, site=site)
    table = Npz(str(tmp_path / "x.npz"), subgroups=["site"]).samples()
    assert table["site"].tolist() == site.tolist()
    with pytest.raises(InputError, match=r"no array `sites`.*site"):
        Npz(str(tmp_path / "x.npz"), subgroups=["sites"])


def test_columns_of_the_table_next_to_an_image_folder(tmp_path):
    rows = ["file,group,site"]
    for number in range(8):
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(path)
        rows.append(f"{path.name},p{number},{'north' if number < 4 else 'south'}")
    (tmp_path / "index.csv").write_text("\n".join(rows))
    table = ImageFolder(str(tmp_path), index="index.csv", subgroups=["site"]).samples().set_index("sample_id")
    assert table.loc["a/2.png", "site"] == "north"
    assert table.loc["b/7.png", "site"] == "south"
    with pytest.raises(InputError, match=r"site"):
        ImageFolder(str(tmp_path), index="index.csv", subgroups=["sitee"]).samples()
    with pytest.raises(InputError, match=r"data.source.index"):
        ImageFolder(str(tmp_path), subgroups=["site"])
    (tmp_path / "index.csv").write_text("\n".join([*rows, "0.png,p0,south"]))
    with pytest.raises(InputError, match=r"1 file.*two different site"):
        ImageFolder(str(tmp_path), index="index.csv", subgroups=["site"]).samples()


def test_headers_of_dicom_files(tmp_path):
    makers = {"1": "Siemens", "2": "Philips", "3": None}
    for patient, maker in makers.items():
        tags = {} if maker is None else {"Manufacturer": maker}
        write_image(tmp_path / f"{patient}.dcm", np.zeros((8, 8), np.uint8), patient=patient, **tags)
    (tmp_path / "labels.csv").write_text("PatientID,finding,ward\n1,a,x\n2,b,y\n3,a,x\n")
    source = Dicom(
        str(tmp_path), str(tmp_path / "labels.csv"), "finding", subgroups=["Manufacturer", "ward"], progress=False
    )
    table = source.samples()
    assert table["Manufacturer"].tolist() == ["Siemens", "Philips", ""]
    assert table["ward"].tolist() == ["x", "y", "x"]
    with pytest.raises(InputError, match=r"wards.*ward"):
        Dicom(str(tmp_path), str(tmp_path / "labels.csv"), "finding", subgroups=["wards"], progress=False)


def test_numbers_are_no_subgroups():
    table = Lesions(patients=MOST_SUBGROUPS + 4, slices=1).samples()
    with pytest.raises(InputError, match=r"`age` has 44 values"):
        check_samples(table.assign(age=range(len(table))), "multiclass", CLASSES, before_split=True)
