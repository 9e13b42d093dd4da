"""Kinds of files by the endings of their names."""

import pytest

from vesalius.data.formats.endings import kind_of, normalise_endings, other_half


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "image"),
        ("a.JPEG", "image"),
        ("a.nii", "nifti"),
        ("a.nii.gz", "nifti"),
        ("a.mgz", "nifti"),
        ("a.mnc", "nifti"),
        ("a+orig.HEAD", "nifti"),
        ("a.MP4", "video"),
        ("a.dcm", "dicom"),
        ("IM00001", "dicom"),
        ("a.img", "dicom"),
    ],
)
def test_the_ending_names_the_kind_and_without_one_it_is_dicom(tmp_path, name, kind):
    (tmp_path / name).touch()
    assert kind_of(tmp_path / name) == kind


def test_a_folder_is_a_folder_whatever_its_name(tmp_path):
    (tmp_path / "a.png").mkdir()
    assert kind_of(tmp_path / "a.png") == "folder"


@pytest.mark.parametrize(
    ("header", "voxels"),
    [("a.hdr", "a.img"), ("a.hdr", "a.IMG"), ("sub.1.hdr", "sub.1.img"), ("a+orig.HEAD", "a+orig.BRIK")],
)
def test_a_header_and_its_voxels_go_together(tmp_path, header, voxels):
    (tmp_path / header).touch()
    assert other_half(tmp_path / header) is None
    (tmp_path / voxels).touch()
    assert other_half(tmp_path / header) == tmp_path / voxels
    assert other_half(tmp_path / voxels) == tmp_path / header
    assert kind_of(tmp_path / voxels) == kind_of(tmp_path / header) == "nifti"


@pytest.mark.parametrize(("header", "voxels"), [("a.hdr", "a.img.gz"), ("a+orig.HEAD", "a+orig.BRIK.gz")])
def test_the_voxels_may_be_compressed(tmp_path, header, voxels):
    (tmp_path / header).touch()
    (tmp_path / voxels).touch()
    assert other_half(tmp_path / header) == tmp_path / voxels


def test_endings_may_be_written_without_the_dot_or_in_capitals():
    assert normalise_endings(["png", ".TIF"]) == (".png", ".tif")
