"""What stops the writing of a checkpoint is what the caller hears of."""

import torch

from vesalius.runs.run_folder import Interrupted
from vesalius.training import checkpoint_files
from vesalius.training.checkpoint_files import DurableCheckpoints


class _Stopped(checkpoint_files._HashingWriter):
    """Stopped at one of its writes."""

    left = 0

    def write(self, data):
        type(self).left -= 1
        if self.left == 0:
            raise Interrupted(130)
        return super().write(data)


def test_a_signal_at_any_moment_is_an_interruption_and_leaves_the_checkpoint_of_before(tmp_path, monkeypatch):
    content = {"weights": [torch.full((30,), float(number)) for number in range(6)]}
    path = tmp_path / "last.ckpt"
    DurableCheckpoints().save_checkpoint(content, path)
    before = path.read_bytes()
    monkeypatch.setattr(checkpoint_files, "_HashingWriter", _Stopped)
    moments = 0
    while True:
        _Stopped.left = moments + 1
        try:
            DurableCheckpoints().save_checkpoint(content, path)
            break
        except Interrupted:
            moments += 1
        assert path.read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
    assert moments > 10
    assert torch.equal(torch.load(path, weights_only=True)["weights"][5], content["weights"][5])
