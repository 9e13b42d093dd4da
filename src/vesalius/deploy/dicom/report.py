"""A DICOM Structured Report of what a model found in a study (TID 1500, Measurement Report)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from highdicom import UID
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from vesalius.data.formats.dicom.headers import OWN_MANUFACTURER
from vesalius.deploy.dicom.identifiers import blank_reference, copy_identifiers
from vesalius.deploy.dicom.model_description import ModelDescription
from vesalius.deploy.dicom.source_images import SourceImage

#: The coding scheme of what has no code in a standard: the classes of a model, and its outputs.
SCHEME = "99VESALIUS"
_NO_UNIT = codes.UCUM.NoUnits
_MEANING_LENGTH, _TEXT_LENGTH = 64, 64
_SERIES_NUMBER = 9900
_YES_NO = {True: codes.SCT.Yes, False: codes.SCT.No}

Row = Mapping[str, Any]


def concept(value: str, meaning: str) -> CodedConcept:
    """A code of this package's own scheme; long meanings are cut."""
    plain = " ".join(meaning.replace("\\", "/").split())
    return CodedConcept(value.replace("\\", "/"), SCHEME, plain[:_MEANING_LENGTH])


class StudyReport(ComprehensiveSR):
    """A report of one study.

    Args:
        model: that predicted.
        findings: for each input that was predicted its row of the predictor's table, and the images that it came from;
            at least one.
        refused: the number of inputs of the study that were not predicted.
    """

    def __init__(
        self, model: ModelDescription, findings: Sequence[tuple[Row, Sequence[SourceImage]]], refused: int = 0
    ) -> None:
        self._source = findings[0][1][0].header
        groups = [_group(model, row, images, number) for number, (row, images) in enumerate(findings, 1)]
        content = MeasurementReport(
            observation_context=ObservationContext(observer_device_context=_device(model)),
            procedure_reported=codes.SCT.ImagingProcedure,
            imaging_measurements=groups,
        )
        super().__init__(
            evidence=[blank_reference(image.header) for _, images in findings for image in images],
            content=content,
            series_instance_uid=UID(),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=UID(),
            instance_number=1,
            manufacturer=OWN_MANUFACTURER,
            manufacturer_model_name=f"{model.task} model",
            device_serial_number=model.sha256,
            software_versions=model.version,
            series_description="Vesalius report",
            is_complete=refused == 0,
            coding_schemes=[CodingSchemeIdentificationItem(SCHEME, name=OWN_MANUFACTURER, version=model.version)],
        )
        if refused:
            self.CompletionFlagDescription = f"{refused} of {refused + len(findings)} inputs were refused"[
                :_TEXT_LENGTH
            ]

    def copy_patient_and_study_information(self, dataset: Dataset) -> None:
        """Keep the study's identifiers; called by the constructor that is inherited."""
        copy_identifiers(self._source, self)


def _device(model: ModelDescription) -> ObserverContext:
    return ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=model.device_uid,
            name=OWN_MANUFACTURER,
            manufacturer_name=OWN_MANUFACTURER,
            model_name=f"{model.task} model",
            serial_number=model.sha256,
        ),
    )


def _group(
    model: ModelDescription, row: Row, images: Sequence[SourceImage], number: int
) -> MeasurementsAndQualitativeEvaluations:
    """What was found in one input (TID 1501)."""
    decided = None if model.task == "multilabel" else row.get("prediction")
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=UID(), identifier=f"input {number}"),
        finding_type=None if decided is None else concept(decided, decided),
        algorithm_id=AlgorithmIdentification(
            name=OWN_MANUFACTURER, version=model.version, parameters=model.parameters, manufacturer=OWN_MANUFACTURER
        ),
        measurements=list(_measurements(model, row)),
        qualitative_evaluations=list(_evaluations(model, row)),
        source_images=[_reference(image) for image in images],
    )


def _reference(image: SourceImage) -> SourceImageForMeasurementGroup:
    header = image.header
    return SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID, list(image.frames) or None)


def _measurements(model: ModelDescription, row: Row) -> Iterator[Measurement]:
    for name in model.classes:
        if (probability := row.get(f"prob/{name}")) is not None:
            yield Measurement(concept(f"prob/{name}", f"Probability of {name}"), float(probability), _NO_UNIT)
        if (value := row.get(f"pred/{name}")) is not None:
            yield Measurement(concept(f"pred/{name}", name), float(value), _NO_UNIT)
    for column, meaning in (("score", "Anomaly score"), ("ood_score", "Distance from the training images")):
        if (value := row.get(column)) is not None:
            yield Measurement(concept(column, meaning), float(value), _NO_UNIT)
    for name, value in model.thresholds.items():
        yield Measurement(concept(f"threshold/{name}", f"Decision threshold of {name}"), value, _NO_UNIT)


def _evaluations(model: ModelDescription, row: Row) -> Iterator[QualitativeEvaluation]:
    if model.operating_point:
        how = concept(model.operating_point, model.operating_point)
        yield QualitativeEvaluation(concept("operating_point", "Operating point"), how)
    if model.task == "multilabel" and (decided := row.get("prediction")) is not None:
        present = decided.split("|")
        for name in model.classes:
            found = codes.DCM.Present if name in present else codes.DCM.Absent
            yield QualitativeEvaluation(concept(name, name), found)
    if (held := row.get("set")) is not None:
        for name in held.split("|"):
            yield QualitativeEvaluation(
                concept("set", "In the prediction set"), concept(name or "none", name or "none")
            )
    for column, meaning in (("abstain", "Too unsure: to be left to a person"), ("ood", "Unlike the training images")):
        if (flag := row.get(column)) is not None:
            yield QualitativeEvaluation(concept(column, meaning), _YES_NO[bool(flag)])
