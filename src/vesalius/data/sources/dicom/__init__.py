"""Folders of DICOM files: which images make a sample, and the source that gives them."""
