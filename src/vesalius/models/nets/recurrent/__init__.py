"""Networks for image series."""
