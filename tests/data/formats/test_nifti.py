"""Volumes are what nibabel reads, after the documented steps; what cannot be read is refused in one sentence."""

import gzip
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.config.errors import InputError
from vesalius.data.formats.nifti import read_grid, read_volume, upright_slices

PACKAGE_FILES = sorted(file for file in Path(nib.__file__).parent.glob("**/tests/data/*") if file.is_file())
RADIOLOGICAL = np.diag([-2.0, 2.0, 3.0, 1.0])  # the first axis runs to the left


def save(path, data, affine=RADIOLOGICAL):
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        read_volume(path, "the sample", **options)
    (problem,) = caught.value.problems
    assert problem.startswith("the sample ")
    assert str(path.parent) not in problem
    return problem


@pytest.mark.filterwarnings("ignore:multiple TRs")
def test_every_file_of_the_package_decodes_as_nibabel_does_or_is_refused_in_one_sentence():
    decoded, refused = {}, {}
    for file in PACKAGE_FILES:
        try:
            volume = read_volume(file, file.name)
        except InputError as error:
            refused[file] = error.problems
            continue
        image = nib.load(file)
        expected = nib.as_closest_canonical(image).get_fdata(dtype=np.float32)
        bad = ~np.isfinite(expected)
        assert volume.filled == bad.sum()
        got = volume.voxels.reshape(expected.shape)
        np.testing.assert_allclose(got, np.where(bad, 0, expected), rtol=1e-6, err_msg=file.name)
        decoded[file.name] = volume
    for file, problems in refused.items():
        assert len(problems) == 1
        assert problems[0].startswith(f"{file.name} ")
        assert str(file.parent) not in problems[0]
    assert len(PACKAGE_FILES) > 100
    must = {"anatomical.nii", "example4d.nii.gz", "test.mgz", "example4d+orig.HEAD", "phantom_EPI_asc_CLEAR_2_1.PAR"}
    assert must <= decoded.keys()
    assert decoded["resampled_anat_moved.nii"].filled > 0


@settings(max_examples=25, deadline=None)
@given(
    axes=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    kind=st.sampled_from(["u1", "<u2", ">u2", "<i2", ">i4", "<f4", "<f8"]),
    frames=st.integers(0, 3),
)
def test_any_orientation_and_type_comes_out_as_nibabel_reorients_it(tmp_path_factory, axes, signs, kind, frames):
    shape = (2, 3, 4, *[frames] * bool(frames))
    data = np.random.default_rng(0).integers(0, 200, shape).astype(kind)
    affine = np.eye(4)
    affine[:3, :3] = np.diag(signs)[list(axes)] * [1.5, 2, 3]
    affine[:3, 3] = [5, -7, 11]
    image = nib.Nifti1Image(data, affine, dtype=np.dtype(kind))
    file = tmp_path_factory.mktemp("axes") / "a.nii"
    nib.save(image, file)
    volume, oracle = read_volume(file), nib.as_closest_canonical(nib.load(file))
    expected = np.asarray(oracle.dataobj).reshape(*oracle.shape[:3], max(1, frames))
    np.testing.assert_array_equal(volume.voxels[..., 0], expected)
    np.testing.assert_allclose(volume.grid.affine, oracle.affine)
    assert volume.voxels.dtype == (np.dtype(kind).newbyteorder("=") if kind[-2] == "u" else np.float32)
    assert volume.voxels.dtype.isnative


def test_slices_lie_upright(tmp_path):
    """A voxel at the right, front or top of the head comes out where a reader of films looks for it."""
    x, y, z = np.meshgrid(np.arange(3), np.arange(4), np.arange(5), indexing="ij")
    codes = (100 * x + 10 * y + z).astype(np.int16)  # right, anterior and superior have the larger numbers
    voxels = read_volume(save(tmp_path / "a.nii", codes, np.eye(4))).voxels
    axial, coronal, sagittal = (upright_slices(voxels, plane)[:, 0, 0] for plane in ("axial", "coronal", "sagittal"))
    assert (axial.shape, coronal.shape, sagittal.shape) == ((5, 4, 3), (4, 5, 3), (3, 5, 4))
    assert axial[0, 0, 0] == 230  # lowest slice: top left is right anterior
    assert axial[4, 3, 2] == 4  # highest slice: bottom right is left posterior
    assert coronal[0, 0, 0] == 204  # rearmost slice: top left is right superior
    assert sagittal[0, 0, 0] == 34  # leftmost slice: top left is anterior superior
    assert sagittal[2, 4, 3] == 200  # rightmost slice: bottom right is posterior inferior


def test_time_is_given_in_seconds_whatever_the_unit(tmp_path):
    data = np.zeros((2, 2, 2, 4), np.int16)
    steps = {}
    for unit in ("sec", "msec", "usec", "hz", "unknown"):
        image = nib.Nifti1Image(data, np.eye(4))
        image.header.set_xyzt_units("mm", unit)
        image.header["pixdim"][4] = 2500
        nib.save(image, tmp_path / "a.nii")
        steps[unit] = read_grid(tmp_path / "a.nii").repetition_time
    assert steps == {"sec": 2500, "msec": 2.5, "usec": 0.0025, "hz": None, "unknown": None}
    assert read_grid(save(tmp_path / "b.nii", data[..., 0])).repetition_time is None


def test_scaling_of_the_header_is_applied(tmp_path):
    image = nib.Nifti1Image(np.arange(8, dtype=np.uint8).reshape(2, 2, 2), np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "a.nii")
    raw = np.frombuffer((tmp_path / "a.nii").read_bytes()[352:], np.uint8).reshape(2, 2, 2, order="F")
    voxels = read_volume(tmp_path / "a.nii").voxels[..., 0, 0]
    assert voxels.dtype == np.float32
    np.testing.assert_allclose(voxels, raw * 0.5 - 3)


def test_a_window_maps_to_sixteen_bits(tmp_path):
    values = np.array([-2000, -160, 40, 240, 3000], np.int16).reshape(5, 1, 1)
    voxels = read_volume(save(tmp_path / "a.nii", values, np.eye(4)), window=(40, 400)).voxels
    assert voxels.dtype == np.uint16
    assert voxels.ravel().tolist() == [0, 0, 32768, 65535, 65535]
    plain = read_volume(save(tmp_path / "b.nii", values.astype(np.uint8), np.eye(4)), window="none").voxels
    assert plain.dtype == np.float32
    rising = np.linspace(-5, 5, 99, dtype=np.float32).reshape(99, 1, 1)
    windowed = read_volume(save(tmp_path / "c.nii", rising, np.eye(4)), window=(0, 2)).voxels.ravel().astype(int)
    assert (np.diff(windowed) >= 0).all()
    assert (windowed[0], windowed[49], windowed[-1]) == (0, 32768, 65535)


def test_voxels_that_are_no_number_are_filled_and_counted_or_refused(tmp_path):
    data = np.array([1, np.nan, np.inf, -np.inf], np.float32).reshape(4, 1, 1)
    file = save(tmp_path / "a.nii", data, np.eye(4))
    volume = read_volume(file, nan=-7)
    assert volume.filled == 3
    assert volume.voxels.ravel().tolist() == [1, -7, -7, -7]
    assert "3 voxel(s)" in refusal(file, nan="error")


def test_colour_has_three_channels_over_black(tmp_path):
    rgb = np.zeros((2, 1, 1), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    rgb[0], rgb[1] = (10, 20, 30), (1, 2, 3)
    assert read_volume(save(tmp_path / "a.nii", rgb, np.eye(4))).voxels.reshape(2, 3).tolist() == [
        [10, 20, 30],
        [1, 2, 3],
    ]
    rgba = np.zeros((2, 1, 1), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")]))
    rgba[0], rgba[1] = (10, 20, 30, 255), (100, 50, 200, 51)
    voxels = read_volume(save(tmp_path / "b.nii", rgba, np.eye(4))).voxels
    assert (voxels.dtype, voxels.reshape(2, 3).tolist()) == (np.uint8, [[10, 20, 30], [20, 10, 40]])


def test_axes_of_length_one_and_missing_ones(tmp_path):
    assert read_grid(save(tmp_path / "a.nii", np.zeros((4, 5), np.uint8))).shape == (4, 5, 1)
    five = read_volume(save(tmp_path / "b.nii", np.zeros((4, 5, 6, 2, 1), np.uint8)))
    assert five.voxels.shape == (4, 5, 6, 2, 1)
    assert "5 dimensions" in refusal(save(tmp_path / "c.nii", np.zeros((4, 5, 6, 2, 3), np.uint8)))


def test_what_is_no_volume_is_refused(tmp_path):
    assert "complex" in refusal(save(tmp_path / "a.nii", np.zeros((2, 2, 2), np.complex64)))
    (tmp_path / "empty.nii").touch()
    assert "0 bytes" in refusal(tmp_path / "empty.nii")
    assert "put it back" in refusal(tmp_path / "none.nii")
    (tmp_path / "folder.nii").mkdir()
    assert "is no file" in refusal(tmp_path / "folder.nii")
    (tmp_path / "text.nii").write_text("not at all")
    assert "convert it" in refusal(tmp_path / "text.nii")
    content = bytearray(save(tmp_path / "b.nii", np.zeros((2, 2, 2), np.uint8)).read_bytes())
    content[252:254] = bytes(2)  # no qform
    content[280:296] = bytes(16)  # the first row of the affine
    (tmp_path / "b.nii").write_bytes(bytes(content))
    assert "affine is singular" in refusal(tmp_path / "b.nii")
    nib.save(nib.Nifti1Pair(np.zeros((2, 2, 2), np.uint8), np.eye(4)), tmp_path / "pair.hdr")
    assert read_volume(tmp_path / "pair.hdr").voxels.shape == (2, 2, 2, 1, 1)
    (tmp_path / "pair.img").unlink()
    assert "other half" in refusal(tmp_path / "pair.hdr")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mgz"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_a_file_cut_short_is_refused(tmp_path, ending, part):
    data = np.random.default_rng(0).integers(0, 30_000, (20, 20, 20)).astype(np.int16)
    file = tmp_path / f"a{ending}"
    nib.save((nib.MGHImage if ending == ".mgz" else nib.Nifti1Image)(data, np.eye(4)), file)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * part)])
    refusal(file)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_header_that_claims_too_much_is_refused_before_memory_is_allocated(tmp_path, ending):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape((1200, 1200, 1200))
    header["magic"], header["vox_offset"] = b"n+1", 352
    header["srow_x"], header["srow_y"], header["srow_z"] = [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]
    header["sform_code"] = 1
    content = header.binaryblock + bytes(1000)
    (tmp_path / f"a{ending}").write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    tracemalloc.start()
    assert "cut short" in refusal(tmp_path / f"a{ending}")
    header.set_data_shape((32767, 32767, 32767))
    (tmp_path / f"a{ending}").write_bytes(header.binaryblock + bytes(1000))
    refusal(tmp_path / f"a{ending}")
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def test_random_damage_never_gives_a_traceback(tmp_path):
    random = np.random.default_rng(0)
    content = save(tmp_path / "a.nii", random.integers(0, 99, (6, 5, 4, 3)).astype(np.int16)).read_bytes()
    refused = []
    for _ in range(200):
        damaged = bytearray(content)
        for place in random.integers(0, 352, 3):
            damaged[place] = random.integers(0, 256)
        (tmp_path / "b.nii").write_bytes(bytes(damaged))
        try:
            volume = read_volume(tmp_path / "b.nii", "b")
            assert np.isfinite(volume.voxels).all()
        except InputError as error:
            refused.append(error.problems)
    assert 0 < len(refused) < 200
    assert {len(problems) for problems in refused} == {1}
