"""Tables written by users: manifests, label tables, and the meaning of their cells."""
