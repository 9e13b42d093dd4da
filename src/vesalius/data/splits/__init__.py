"""Training, validation and test sets that never share a patient: assigned, thinned out, written and read."""
