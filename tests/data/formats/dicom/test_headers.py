"""Values of headers that are easily misread."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from dicom_maker import write_image, write_series
from vesalius.data.formats.dicom.headers import read_image_header
from vesalius.data.formats.dicom.index import index_folder

PIXELS = np.zeros((4, 4), dtype=np.uint16)


@pytest.mark.parametrize(
    ("nominal", "trigger", "seconds"), [(0.0, 5.0, 0.0), (None, 5.0, 0.005), (None, 0.0, 0.0), (None, None, None)]
)
def test_a_delay_of_zero_is_a_delay(tmp_path, nominal, trigger, seconds):
    tags = {"TriggerTime": trigger}
    if nominal is not None:
        groups, cardiac = Dataset(), Dataset()
        cardiac.NominalCardiacTriggerDelayTime = nominal
        groups.CardiacSynchronizationSequence = Items([cardiac])
        tags["SharedFunctionalGroupsSequence"] = Items([groups])
    header = read_image_header(write_image(tmp_path / "a", PIXELS, **tags), "a")
    assert header.frames[0].trigger == seconds


def test_the_time_of_a_trigger_comes_before_the_time_of_reconstruction(tmp_path):
    phases = np.arange(3 * 2 * 16, dtype=np.uint16).reshape(3, 2, 4, 4)
    backwards = ("100002", "100001", "100000")  # reconstructed from the last to the first
    paths = write_series(tmp_path, phases, clock="trigger", ContentTime=lambda phase, _: backwards[phase])
    (series,) = index_folder(tmp_path, progress=False).series
    grid = series.arrange()
    assert [frame.path for phase in grid.frames for frame in phase] == [path.name for path in paths]
    assert grid.times == ((0.0, 0.0), (10.0, 10.0), (20.0, 20.0))
