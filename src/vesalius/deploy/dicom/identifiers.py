"""The identifiers of a study in an object that is derived from it: copied as they are, and none added."""

from copy import deepcopy

from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

#: Attributes of the patient, of a clinical trial, and of the study.
KEPT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID"),
    *("OtherPatientIDsSequence", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize", "PatientWeight"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID"),
    *("ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber"),
    *("IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "TimezoneOffsetFromUTC"),
)
# Attributes that every object must have, empty where they are unknown
_MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)


def copy_identifiers(source: Dataset, target: Dataset) -> None:
    """Copy the identifiers of a study, whatever their values, into an object in UTF-8."""
    target.SpecificCharacterSet = "ISO_IR 192"
    for keyword in KEPT:
        if keyword in source:
            target.add(deepcopy(source[keyword]))
            if isinstance(value := source[keyword].value, PersonName):  # holds bytes of the source's character set
                target[keyword].value = str(value)
        elif keyword in _MAY_BE_EMPTY:
            setattr(target, keyword, "")
        elif keyword in target:
            delattr(target, keyword)


def blank_reference(source: Dataset) -> Dataset:
    """The UIDs of an image, and nothing else that is known about it."""
    blank = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(blank, keyword, str(source[keyword].value))
    for keyword in _MAY_BE_EMPTY:
        setattr(blank, keyword, "")
    return blank
