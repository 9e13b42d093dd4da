"""Tables that users bring: manifests, label tables, and what their cells mean."""
