"""What is built is what was written: `conf/` travels inside the wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_composes_configs_in_another_folder(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    shipped = {str(path.relative_to(ROOT / "conf")) for path in (ROOT / "conf").rglob("*.yaml")}
    packed = tmp_path / "site/vesalius/conf"
    assert {str(path.relative_to(packed)) for path in packed.rglob("*.yaml")} == shipped

    (tmp_path / "mine/model").mkdir(parents=True)
    (tmp_path / "mine/model/own.yaml").write_text("defaults:\n  - cnn\n  - _self_\nchannels_last: false\n")
    code = "import vesalius, sys; from vesalius.cli import main; print(vesalius.__file__); sys.exit(main())"
    command = [sys.executable, "-c", code, "train", "--config-dir", "mine", "model=own", "--cfg", "job"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stdout
    assert "channels_last: false" in done.stdout


def test_nothing_private_is_in_the_repository():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        return  # an unpacked source distribution
    for name in listed.stdout.split():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".txt", ".ipynb", ""} and path.is_file():
            assert str(ROOT) not in path.read_text(errors="ignore"), name
