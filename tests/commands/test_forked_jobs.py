import pytest

from bit_equality import differences
from vesalius.launch.template import can_fork

SMALL = ["data.source.patients=24", "data.source.slices=1", "data.source.image_size=28", "trainer.max_epochs=1"]


@pytest.mark.slow
@pytest.mark.skipif(not can_fork(), reason="jobs are forks on Linux only")
def test_a_forked_job_computes_what_a_fresh_interpreter_does(fresh_vesalius_in, tmp_path):
    for folder, seeds, forked in (("forked", "0,1", "true"), ("fresh", "1", "false")):
        options = [f"hydra.launcher.forkserver={forked}", f"hydra.sweep.dir={tmp_path / folder}", "logger=none"]
        ended = fresh_vesalius_in(tmp_path, "train", "-m", f"seed={seeds}", *SMALL, *options)
        assert ended.returncode == 0, ended.stderr
    assert differences(tmp_path / "forked" / "1", tmp_path / "fresh" / "0") == []
    assert differences(tmp_path / "forked" / "0", tmp_path / "fresh" / "0") != []
