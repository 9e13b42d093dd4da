"""DICOM files: reading, decoding, ordering into series."""
