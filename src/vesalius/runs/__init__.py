"""Run folders and sweep folders on disk: writing them, finding and reading runs, grouping runs into arms."""
