import torch

from vesalius.training.checkpoints import Checkpoint


def test_a_resumed_callback_holds_all_that_the_stopped_one_stored(tmp_path):
    """Scores of epochs that were no better are in the checkpoints of a resumed run too."""
    stopped = Checkpoint("best", monitor="val/loss", save_top_k=2)
    stopped.dirpath = str(tmp_path / "here")
    stopped.best_k_models = {
        f"{stopped.dirpath}/best.ckpt": torch.tensor(0.2),
        f"{stopped.dirpath}/other.ckpt": torch.tensor(0.4),
    }
    stopped.best_model_path, stopped.kth_best_model_path = stopped.best_k_models
    stopped.best_model_score, stopped.kth_value = stopped.best_k_models.values()
    stopped.current_score, stopped.last_model_path = torch.tensor(0.4), stopped.kth_best_model_path
    state = stopped.state_dict()
    assert None not in state.values()
    assert str(tmp_path) not in str(state)
    resumed = Checkpoint("best", monitor="val/loss", save_top_k=2)
    resumed.dirpath = str(tmp_path / "moved")
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert resumed.best_model_path == str(tmp_path / "moved/best.ckpt")
