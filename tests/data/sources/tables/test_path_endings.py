"""Files that an entry of a table names: by an end of the path, or by a folder that they are in."""

import pytest

from vesalius.data.sources.tables.path_endings import PathEndings

FILES = (
    "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
    "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
    "sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz",
    "derivatives/sub-02/r\u00f6/x.nii.gz",
)


@pytest.mark.parametrize(
    ("entry", "numbers"),
    [
        ("sub-01", [0, 1]),
        ("sub-02", [2, 3]),
        ("sub-01/ses-2", [1]),
        ("sub-01\\ses-2", [1]),
        ("ses-1/anat", [0, 2]),
        ("sub-02/ro\u0308", [3]),
        ("sub-0", []),
        ("ses-1/sub-01", []),
        ("x.nii.gz/x", []),
    ],
)
def test_an_entry_may_name_folders_whose_files_it_is_about(entry, numbers):
    endings = PathEndings(FILES)
    assert endings.find(entry) == []
    assert endings.find_in_folder(entry) == numbers
    files, ambiguous = endings.resolve([entry])
    assert files == ({entry: [FILES[number] for number in numbers]} if numbers else {})
    assert ambiguous == []


def test_a_file_comes_before_a_folder_of_its_name():
    files, ambiguous = PathEndings(["a/b/c.png", "b/d/e.png", "x/b"]).resolve(["b"])
    assert files == {"b": ["x/b"]}
    assert ambiguous == []
    assert PathEndings(["a/1.png", "b/1.png"]).resolve(["1.png"])[1] == ["1.png"]
