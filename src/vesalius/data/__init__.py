"""From files to batches: sources, splits by patient, the store of decoded images, augmentation, datamodules."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "datamodules.base": ["ImageDataModule"],
        "datamodules.classification": ["ClassificationData"],
        "datamodules.reconstruction": ["ReconstructionData"],
        "datamodules.sequence": ["SequenceData"],
        "datamodules.synthesis": ["SynthesisData"],
    },
)
