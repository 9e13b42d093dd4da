"""The README is short, its links lead somewhere, and what it shows first to users with images of their own runs."""

import re
import textwrap
from pathlib import Path

import pytest

from dicom_maker import write_cohort
from documented_commands import ROOT, bash_blocks, section, words_in_bash

README = (ROOT / "README.md").read_text()
# Run from end to end, with little data; of all others test_docs.py composes the config.
BLOCKS = [
    block for title in ("Your own images", "Sweeps, report, W&B") for block in bash_blocks(section(README, title))
]
SMALL = ["trainer=cpu", "trainer.max_epochs=1", "logger=none", "data.steps_per_epoch=2", "data.batch_size=8"]
PHANTOM = ["data.source.patients=48", "data.source.image_size=28"]
SHORTER = {"seed": "seed=0"}


def test_it_is_a_landing_page():
    assert len(README.split()) <= 1000
    assert README.index("make demo") < README.index("make test") < README.index("![")
    assert len(BLOCKS) == 4


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name):
    for link in re.findall(r"\]\((?!http)([^)]+)\)", (ROOT / name).read_text()):
        path, _, anchor = link.partition("#")
        text = (ROOT / path).read_text(errors="ignore")
        headings = [
            re.sub(r"[^\w\s-]", "", line.lower()).strip() for line in re.findall(r"^#+ (.*)", text, re.MULTILINE)
        ]
        assert not anchor or anchor in [heading.replace(" ", "-") for heading in headings], link


def test_the_wheel_is_named_as_it_is_built():
    from vesalius import __version__

    assert f"dist/vesalius-{__version__}-py3-none-any.whl" in README


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What the README's words in capitals stand for here."""
    import numpy as np
    from PIL import Image

    root, random = tmp_path_factory.mktemp("readme"), np.random.default_rng(0)
    rows = ["file,finding,patient"]
    for label, name in enumerate(("malignant", "normal, benign")):
        for number in range(24):
            for folder in ("FOLDER", "OTHER"):
                path = root / folder / name / f"P{label}{number // 2}_{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = random.integers(60 * label, 60 * label + 100, (28, 28))
                Image.fromarray(pixels.astype(np.uint8)).save(path)
            rows.append(f'"{path.relative_to(root)}","{name}",P{label}{number // 2}')
    (root / "TABLE.csv").write_text("\n".join(rows))
    labels = write_cohort(root / "cohort", patients=24)
    (labels.parent / "files").rename(root / "SCANS")
    labels.rename(root / "LABELS.csv")
    return root


@pytest.mark.parametrize("number", [0, 1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_each_command_runs(number, vesalius, places, tmp_path):
    """`RUN` is the newest run of its block."""
    for command in words_in_bash(BLOCKS[number], tmp_path):
        words = [SHORTER.get(word.partition("=")[0], word) for word in command[1:]]
        if "run=RUN" in words:
            words[words.index("run=RUN")] = f"run={newest_run(places)}"
        words += ["data.image_size=28"] if "data=image_folder" in words else []
        if words[0] == "train" and not any(word.startswith("resume=") for word in words):
            words += [*SMALL, *([] if any(word.startswith("data=") for word in words) else PHANTOM)]
        done = vesalius(*words, cwd=places)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    if number == 0:
        the_python_lines_read(newest_run(places), places)


def newest_run(places: Path) -> Path:
    return max(places.glob("runs/*/*/metrics.json"), key=lambda path: path.stat().st_mtime).parent


def the_python_lines_read(run: Path, places: Path) -> None:
    """The Python of the README, of a run that is there."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert 'Path("runs/lesions_cnn")' in code
    assert len(code.splitlines()) <= 6
    printed = []
    exec(
        textwrap.dedent(code.replace("runs/lesions_cnn", str(run.parent))),
        {"print": lambda *what: printed.extend(what)},
    )
    metric, model = printed
    assert metric["ci95"][0] <= metric["value"] <= metric["ci95"][1]
    assert type(model).__name__ == "CNNClassifier"
