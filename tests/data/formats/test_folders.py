"""Walking through folders: links and leftovers."""

from pathlib import Path

from vesalius.data.formats.folders import is_leftover, walk


def _files(top: Path) -> list[str]:
    return sorted((parent / name).relative_to(top).as_posix() for parent, names in walk(top) for name in names)


def test_links_to_folders_elsewhere_are_followed_once_and_without_loops(tmp_path):
    top, elsewhere = tmp_path / "top", tmp_path / "elsewhere"
    for folder in (top / "a", elsewhere / "deep"):
        folder.mkdir(parents=True)
        (folder / "1.png").touch()
    (top / "a" / "link").symlink_to(elsewhere)
    (top / "b").symlink_to(elsewhere)
    (top / "inside").symlink_to(top / "a")
    (top / "up").symlink_to(tmp_path)
    (elsewhere / "loop").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(top)
    assert _files(top) == ["a/1.png", "b/deep/1.png"]


def test_leftovers_of_systems_are_passed_over(tmp_path):
    for name in (
        "__MACOSX/a.png",
        ".Trash/a.png",
        "x/._a.png",
        "x/.DS_Store",
        "x/Thumbs.db",
        "x/desktop.ini",
        "$RECYCLE.BIN/a.png",
        "System Volume Information/a.png",
        "x/@eaDir/a.png",
        ".ipynb_checkpoints/a.png",
        "x/a.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert _files(tmp_path) == ["x/a.png"]
    assert not is_leftover("macosx.png")
