"""What headers say that is easily read wrongly."""

import pytest

from vesalius.data.formats.dicom.headers import _first_number
from vesalius.data.formats.dicom.ordering import _STAMPS


@pytest.mark.parametrize(("values", "expected"), [((0.0, 5), 0.0), ((None, 5), 5.0), ((None, None), None)])
def test_a_delay_of_zero_is_a_delay(values, expected):
    assert _first_number(*values) == expected


def test_the_time_of_a_trigger_comes_before_the_time_of_reconstruction():
    class Frame:
        elapsed, acquired, trigger, content = range(4)

    assert [stamp(Frame()) for stamp in _STAMPS] == [0, 1, 2, 3]


def test_a_patient_whose_issuer_is_named_here_and_there_stays_one():
    from types import SimpleNamespace

    from vesalius.data.sources.dicom import _patients

    def series(patient, issuer="", study="s"):
        return SimpleNamespace(patient=patient, issuer=issuer, study=study, folder="f")

    found = _patients([series("P1", "A"), series("P1"), series("P2", "A"), series("P2", "B"), series("", study="x")])
    assert found[0] == found[1]
    assert found[2] != found[3]
    assert found[4] == "x"


def test_a_file_cut_short_is_damaged_and_not_passed_over(tmp_path):
    from dicom_maker import write_cohort
    from vesalius.config.errors import InputError
    from vesalius.data.sources.dicom import Dicom

    table = write_cohort(tmp_path / "study", patients=4, slices=2)
    files = table.parent / "files"
    cut = next(path for path in sorted(files.rglob("*")) if path.is_file())
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 4])
    with pytest.raises(InputError, match="damaged"):
        Dicom(str(files), str(table), "finding").samples()
    source = Dicom(str(files), str(table), "finding", on_bad_series="skip")
    assert len(source.samples()) == 7
    ((name, reason),) = source.left_out
    assert cut.name not in name + reason
