"""The four model families, each a LightningModule, with their losses, schedules and fine-tuning."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "autoencoder.autoencoder": ["Autoencoder"],
        "autoencoder.loss": ["ReconstructionLoss"],
        "autoencoder.vicreg": ["VICReg"],
        "classifier": ["CNNClassifier"],
        "family": ["FamilyModule"],
        "finetune": ["Finetune"],
        "gan.auxiliary_classifier": ["AuxiliaryClassifier"],
        "gan.differentiable_augment": ["DifferentiableAugment"],
        "gan.gan": ["GAN"],
        "gan.loss": ["GANLoss"],
        "losses.classification": ["ClassificationLoss"],
        "losses.regression": ["RegressionLoss"],
        "losses.task": ["build_task_loss"],
        "padim": ["PaDiM"],
        "schedules": ["Constant", "Cosine", "MultiStep", "OneCycle"],
        "sequence": ["SequenceClassifier"],
        "single_loss": ["SingleLossModule"],
    },
)
