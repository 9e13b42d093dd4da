"""`python -m vesalius.commands.export DIR`: a finished run as a bundle."""

import sys
from pathlib import Path
from typing import get_args

from vesalius.config.errors import InputError
from vesalius.deploy.bundle.export import export_run
from vesalius.deploy.bundle.graphs import Part
from vesalius.deploy.bundle.reading import CARD_HTML
from vesalius.launch.worker import enter, leave
from vesalius.runs.hashes import file_hash
from vesalius.runs.run_folder import MANIFEST, RunFolder
from vesalius.terminal import command_console

BUNDLE = "bundle"


def export(path: Path) -> None:
    """Write the bundle, and print where it is and how well it agrees with the run."""
    with RunFolder(path).discard_if_refused() as folder:
        config = folder.config
        if config["part"] not in get_args(Part):
            raise InputError(f"part={config['part']}: expected {', '.join(get_args(Part))}.")
        output = folder.path / BUNDLE if config["output"] is None else Path(config["output"]).expanduser()
        manifest = export_run(
            config["run"],
            output,
            part=config["part"],
            golden=config["golden"],
            intended_use=config["intended_use"],
        )
    console = command_console()
    difference = max(manifest.parity["largest"], manifest.parity["golden"])
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    lines = [
        f"Exported: {manifest.kind}, {size / 2**20:.1f} MiB.",
        f"Largest difference from the trained model: {difference:.1e}.",
        f"SHA-256 of {MANIFEST}, which has those of all other files: {file_hash(output / MANIFEST)}",
        f"Model card: {output / CARD_HTML}",
        f"Written to: {output}",
    ]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    leave(enter(export, sys.argv[1:]))
