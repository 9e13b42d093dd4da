"""Keys of configs whose values name files and folders. Imports nothing."""

#: Keys whose values name a file or a folder of the user's.
PATH_KEYS = frozenset(
    {"root", "file", "index", "labels", "manifest", "mask", "split_file", "cache_dir", "weights", "init_from", "run"}
    | {"extractor", "synthetic", "input", "bundle", "golden", "token", "autoencoder"}
)
