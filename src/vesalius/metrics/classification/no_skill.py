"""The best value of each classification metric that a predictor reaches without ever seeing an image.

Such a predictor knows how frequent the classes are (here: in the table's own truth), and gives all samples the same
probabilities, or predictions drawn with the same chances. For each metric the best of them is taken, in the limit of
many samples: one that always predicts the most frequent class for accuracy, another for F1.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.metrics.classification.calibration import CalibrationGaps
from vesalius.metrics.predictions import Predictions


def no_skill_values(p: Predictions) -> dict[str, float | None]:
    """The no-skill value of every metric, by name.

    * `accuracy`: share of the most frequent class; for multilabel the mean over labels of the more frequent of
      present and absent.
    * `balanced_accuracy`: 1/K; 0.5 for multilabel. Whatever is predicted at random reaches it.
    * `recall/<class>`, `specificity/<class>`: 1, by always or never predicting the class: they show skill together.
      Where each sample has one class, more of one class is less of another: `recall` is 1/K, `specificity` 1 - 1/K.
    * `precision/<class>`: the prevalence, which any share of samples predicted at random reaches; `precision`: their
      mean.
    * `f1/<class>`: 2 p / (1 + p) for a prevalence p, by always predicting the class. `f1` where each sample has one
      class: 1/K, by predictions as frequent as the classes (each F1 is 2 p q / (p + q) for a share q of predictions,
      concave in q, and the best shares are q = p); for multilabel the mean over labels.
    * `auroc`: 0.5. `average_precision`: that of samples in random order (`random_average_precision`).
    * `brier`: the frequencies', 1 - sum of squared prevalences; for multilabel the mean of prevalence times
      (1 - prevalence). `ece`: what a calibrated model gets on average that is as confident about as many patients: good
      calibration without anything else is no sign of skill. None where `ece` is undefined.
    """
    prevalence = p.truth.mean(axis=0)
    by_class = {
        "auroc": np.full(len(p.classes), 0.5),
        "average_precision": random_average_precision(p.truth.sum(axis=0), len(p.truth)),
        "recall": np.ones(len(p.classes)),
        "precision": prevalence,
        "specificity": np.ones(len(p.classes)),
        "f1": 2 * prevalence / (1 + prevalence),
    }
    values = {f"{metric}/{label}": v[k] for metric, v in by_class.items() for k, label in enumerate(p.classes)}
    values |= {metric: v.mean() for metric, v in by_class.items()}
    if p.task == "binary":
        values["average_precision"] = values[f"average_precision/{p.classes[1]}"]
    if p.single_label:
        values["accuracy"] = prevalence.max()
        values["balanced_accuracy"] = values["recall"] = values["f1"] = 1 / len(p.classes)
        values["specificity"] = 1 - 1 / len(p.classes)
        values["brier"] = 1 - (prevalence**2).sum()
    else:
        values["accuracy"] = np.maximum(prevalence, 1 - prevalence).mean()
        values["balanced_accuracy"] = 0.5
        values["brier"] = (prevalence * (1 - prevalence)).mean()
    gaps = CalibrationGaps.of(p)
    ece = gaps.calibrated_value() if gaps.defined else None
    return {**{name: float(value) for name, value in values.items()}, "ece": ece}


def random_average_precision(positives: ArrayLike, samples: ArrayLike) -> NDArray[np.float64]:
    """Mean average precision over all orders of some samples: close to the prevalence for many, and above it for few.

    A positive at rank k has (k - 1) (m - 1) / (n - 1) others before it on average (Bestgen, Computational Linguistics
    41:131, 2015).

    Args:
        positives: m, of each class; where it is 0, so is the result.
        samples: n, of each.
    """
    m, n = np.broadcast_arrays(np.asarray(positives, dtype=np.float64), np.asarray(samples))
    harmonic = np.array([(1 / np.arange(1, size + 1)).sum() for size in n.ravel()]).reshape(n.shape)
    others = (m - 1) / np.maximum(n - 1, 1)
    return np.asarray(np.where(m > 0, others + (1 - others) * harmonic / n, 0.0))
