"""The bodies of responses: predictions as the model's table has them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from vesalius.deploy.serve.refusal import split_problem


class Prediction(BaseModel):
    """What the model predicts for an image or a series, or why it was refused. Fields without a value are left out."""

    input: str = Field(description="The name of the file, or of the slice, frame or series in it.")
    probabilities: dict[str, float] | None = Field(default=None, description="Of each class.")
    values: dict[str, float] | None = Field(default=None, description="Of each continuous target, in its unit.")
    prediction: str | None = Field(
        default=None, description="The class that the operating point decides for; labels joined by |."
    )
    abstain: bool | None = Field(default=None, description="Whether it is too unsure, and to be left to a person.")
    prediction_set: list[str] | None = Field(default=None, description="The classes of the conformal prediction set.")
    out_of_distribution: bool | None = Field(
        default=None, description="Whether the input is unlike the training images."
    )
    ood_score: float | None = Field(default=None, description="Its distance from them, 1 at the threshold.")
    score: float | None = Field(default=None, description="The score of an autoencoder or anomaly detector.")
    problem: str | None = Field(default=None, description="Why the input was refused.")
    cure: str | None = Field(default=None, description="What to do about that.")
    frames: int | None = Field(default=None, description="Frames in the pictures, next to each other.")
    preview: str | None = Field(default=None, description="The input as the model takes it: a PNG as a data URL.")
    explanation: str | None = Field(
        default=None, description="The same with a heat map of what the prediction rests on."
    )


class Predictions(BaseModel):
    """What the model predicts for a request."""

    predictions: list[Prediction]
    notes: list[str] = Field(description="What was passed over in the files.")


def predictions_of(table: pd.DataFrame) -> list[Prediction]:
    """The rows of a predictor's table.

    Args:
        table: with the columns of `Predictor.columns`.
    """
    return [_prediction(row) for row in table.to_dict("records")]


def _prediction(row: Mapping[Any, Any]) -> Prediction:
    known = {name: value for name, value in row.items() if not pd.isna(value)}
    if "problem" in known:
        problem, cure = split_problem(known["problem"])
        return Prediction(input=row["input"], problem=problem, cure=cure)
    probabilities, values = _numbers(row, "prob/"), _numbers(row, "pred/")
    if not np.isfinite([*probabilities.values(), *values.values(), row.get("score", 0.0)]).all():
        problem, cure = "The model's output for it is not finite", "Check the value range of the input."
        return Prediction(input=row["input"], problem=problem, cure=cure)
    return Prediction(
        input=row["input"],
        probabilities=probabilities or None,
        values=values or None,
        prediction=known.get("prediction"),
        abstain=bool(known["abstain"]) if "abstain" in known else None,
        prediction_set=[name for name in known["set"].split("|") if name] if "set" in known else None,
        out_of_distribution=bool(known["ood"]) if "ood" in known else None,
        ood_score=known.get("ood_score"),
        score=known.get("score"),
    )


def _numbers(row: Mapping[Any, Any], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in row.items() if str(name).startswith(prefix)}
