"""The report of a run, or of all runs below a folder: collected, aggregated, drawn, written as a page and tables."""
