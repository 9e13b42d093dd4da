"""From a frozen config to a run folder, and from the folder to a fresh process."""
