"""Training, validation and test sets that never share a patient."""
