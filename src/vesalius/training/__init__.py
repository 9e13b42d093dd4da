"""How a model is trained: Lightning's Trainer, callbacks, checkpoints and tracking."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "averaging": ["EMA"],
        "checkpoints": ["Checkpoint", "load_checkpoint", "restore_model"],
        "profiling": ["StepProfiler"],
        "tracking.tensorboard": ["TensorBoardTracker"],
        "tracking.wandb": ["WandbTracker"],
        "trainer": ["Trainer"],
    },
)
