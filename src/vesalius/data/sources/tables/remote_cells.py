"""The files of a manifest's rows that lie on a server."""

import posixpath

import pandas as pd

from vesalius.config.addresses import is_address, join_address
from vesalius.data.remote.mirror import local_files


def fetch_cells(cells: pd.Series, root: str) -> pd.Series:
    """Download the files that cells name by an address, or below a root that is one.

    Args:
        cells: the column of the manifest.
        root: the folder of relative paths, or its address.

    Returns:
        The cells, with the path of the local copy in place of each address.

    Raises:
        InputError: where a server cannot be read; a file that it does not have is left to the check of paths.
    """
    addresses = {cell: address for cell in cells.unique() if (address := _address(cell, root)) is not None}
    if not addresses:
        return cells
    copies = local_files(sorted(set(addresses.values())))
    local = {cell: str(copies[address]) for cell, address in addresses.items() if is_address(cell)}
    return cells.map(lambda cell: local.get(cell, cell))


def _address(cell: str, root: str) -> str | None:
    if is_address(cell):
        return cell
    inside = posixpath.normpath(cell.replace("\\", "/"))
    return join_address(root, inside) if cell and is_address(root) and not inside.startswith("/") else None
