"""Results as DICOM: reports and heat maps of studies, written to files or sent back to an archive."""
