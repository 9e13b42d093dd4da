"""Data on servers: files are downloaded into the cache folder once, and read from there as local files."""
