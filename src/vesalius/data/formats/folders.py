"""Walking through folders: links are followed without loops, leftovers of other systems are passed over."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vesalius.data.formats.endings import has_ending, is_mask

#: Files and folders, in lower case, that systems leave behind; so are all whose name starts with a dot.
LEFTOVERS = frozenset(
    {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir"}
)


_MASK_FOLDERS = frozenset({"mask", "masks", "segmentation", "segmentations", "groundtruth", "ground_truth", "gt"})
_IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs", "imagedata"})


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or left behind by a system, and so no data."""
    return name.startswith(".") or name.lower() in LEFTOVERS


def is_mask_folder(folder: Path) -> bool:
    """Whether a folder holds masks, by its name and that of a folder of images next to it."""
    if folder.name.lower() not in _MASK_FOLDERS:
        return False
    return any(entry.name.lower() in _IMAGE_FOLDERS and entry.is_dir() for entry in os.scandir(folder.parent))


def wanted_names(names: Iterable[str], endings: Sequence[str], *, masks: bool = False) -> list[str]:
    """The names with one of the endings, of those of a folder.

    Args:
        names: of all files of the folder.
        endings: in lower case.
        masks: take masks and segmentations too, which otherwise are left out where there are images next to them.
    """
    found = [name for name in names if has_ending(name, endings) and not is_leftover(name)]
    images = [name for name in found if not is_mask(name)]
    return found if masks or not images else images


def walk(top: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder from `top` down, with the names of the files straight in it; leftovers are passed over.

    A link to a folder elsewhere is followed, once for each such folder. A link to a folder that is walked through
    anyway, or that `top` lies in, is not.
    """
    base = os.path.realpath(top)
    followed = {base}
    for parent, folders, names in os.walk(top, followlinks=True):
        wanted = []
        for name in sorted(folders):
            path = os.path.join(parent, name)
            if is_leftover(name):
                continue
            if os.path.islink(path):
                target = os.path.realpath(path)
                if target in followed or _is_inside(target, base) or _is_inside(base, target):
                    continue
                followed.add(target)
            wanted.append(name)
        folders[:] = wanted
        yield Path(parent), [name for name in names if not is_leftover(name)]


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
