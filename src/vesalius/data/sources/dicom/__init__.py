"""The source for folders of DICOM files, and the images that make up its samples."""
