"""Names of the metrics by kind, in the order in which they are shown."""

RANKING = ("auroc", "average_precision")
COUNTING = ("accuracy", "balanced_accuracy", "recall", "precision", "specificity", "f1")
CALIBRATION = ("ece", "brier")
CLASSIFICATION_METRICS = (*RANKING, *COUNTING, *CALIBRATION)
#: Computed over all classes at once: they have no value per class.
OVERALL_ONLY = ("accuracy", *CALIBRATION)

REGRESSION_METRICS = ("mae", "rmse", "r2")
RECONSTRUCTION_METRICS = ("psnr", "ssim", "mse")
SYNTHESIS_METRICS = ("frechet_distance", "kid", "manifold_precision", "manifold_recall", "density", "coverage")
