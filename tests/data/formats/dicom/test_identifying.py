"""What a header tells of the patient is found, wherever it stands."""

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_has_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from dicom_maker import CT_IMAGE, SECONDARY_CAPTURE, ULTRASOUND_MULTIFRAME, new_image
from vesalius.data.formats.dicom.identifying import IDENTIFYING, burned_in_reason, identifying_values

PIXELS = np.zeros((4, 4), dtype=np.uint8)


def test_every_keyword_is_one_of_dicoms():
    assert [keyword for keyword in IDENTIFYING if tag_for_keyword(keyword) is None] == []
    assert all(dictionary_has_tag(tag_for_keyword(keyword)) for keyword in IDENTIFYING)


def test_planted_values_are_found_in_sequences_too():
    dataset = new_image(PIXELS, name="Planted^Name", patient="12345", birth_date="19600102")
    inner, innermost = Dataset(), Dataset()
    innermost.PerformingPhysicianName = "Hidden^Doctor"
    inner.RequestedProcedureCodeSequence = Items([innermost])
    dataset.RequestAttributesSequence = Items([inner])
    found = identifying_values(dataset)
    wanted = {"PatientName": "Planted^Name", "PatientID": "12345", "PatientBirthDate": "19600102"}
    assert wanted.items() <= found.items()
    assert found["PerformingPhysicianName"] == "Hidden^Doctor"
    assert "SeriesInstanceUID" not in found
    assert identifying_values(dataset, uids=True)["SeriesInstanceUID"] == dataset.SeriesInstanceUID


@pytest.mark.parametrize("value", ["", "Anonymous", "ANON^^", None])
def test_what_is_left_of_de_identified_values_does_not_count(value):
    dataset = new_image(PIXELS)
    dataset.PatientName = value
    assert "PatientName" not in identifying_values(dataset)


def test_a_value_that_cannot_be_read_is_passed_over():
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm", download=False))
    assert identifying_values(dataset)["PatientName"] == "CompressedSamples^CT1"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"sop_class": CT_IMAGE, "BurnedInAnnotation": "YES"}, "header"),
        ({"sop_class": SECONDARY_CAPTURE}, "secondary capture"),
        ({"sop_class": ULTRASOUND_MULTIFRAME}, "ultrasound"),
        ({"sop_class": CT_IMAGE, "modality": "US"}, "ultrasound"),
        ({"sop_class": CT_IMAGE, "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "screen"),
        ({"sop_class": SECONDARY_CAPTURE, "BurnedInAnnotation": "NO"}, None),
        ({"sop_class": CT_IMAGE}, None),
    ],
)
def test_names_in_the_pixels_are_suspected_where_the_header_hints_at_them(options, word):
    reason = burned_in_reason(new_image(PIXELS, **options))
    assert reason is None if word is None else word in str(reason)
