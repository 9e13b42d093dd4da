"""Attributes of a DICOM file that identify the patient.

They are those of the basic confidentiality profile (DICOM PS3.15, table E.1-1) that hold text or dates about the
patient, the staff, the place and the time, and every attribute that holds a person's name. Not searched: private
attributes, free text under other keywords, overlays, and text in the pixels (`burned_in_reason` only finds out where
that is likely).
"""

from collections.abc import Iterator

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID

PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientBirthTime", "PatientBirthName"),
    *("OtherPatientIDs", "OtherPatientIDsSequence", "OtherPatientNames", "PatientMotherBirthName", "PatientAddress"),
    *("PatientTelephoneNumbers", "PatientTelecomInformation", "PatientInsurancePlanCodeSequence"),
    *("PatientReligiousPreference", "EthnicGroup", "Occupation", "MilitaryRank", "BranchOfService"),
    *("CountryOfResidence", "RegionOfResidence", "MedicalRecordLocator", "PatientComments", "AdditionalPatientHistory"),
    *("ResponsiblePerson", "ResponsibleOrganization", "MedicalAlerts", "Allergies", "SpecialNeeds"),
    *("LastMenstrualDate", "AdmissionID", "ServiceEpisodeID", "CurrentPatientLocation", "PatientInstitutionResidence"),
)
PEOPLE = (
    *("ReferringPhysicianName", "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers"),
    *("ConsultingPhysicianName", "PhysiciansOfRecord", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy"),
    *("RequestingPhysician", "ScheduledPerformingPhysicianName", "OperatorsName", "OrderEnteredBy"),
    *("OrderEntererLocation",),
    *("VerifyingObserverName", "PersonName", "ContentCreatorName", "HumanPerformerName", "ReviewerName"),
    *("PersonAddress", "PersonTelephoneNumbers", "OrderCallbackPhoneNumber"),
)
PLACES = (
    *("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "DeviceSerialNumber"),
    *("RequestingService", "ScheduledStationName", "PerformedStationName", "PerformedLocation"),
    *("HumanPerformerOrganization",),
    *("AccessionNumber", "StudyID", "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest"),
    *("RequestedProcedureID", "PerformedProcedureStepID", "ScheduledProcedureStepID", "DeviceUID", "GantryID"),
)
DATES = (
    *("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime", "InstanceCreationDate"),
    *("AdmittingDate", "ScheduledProcedureStepStartDate", "PerformedProcedureStepStartDate", "DateOfSecondaryCapture"),
    *("FrameAcquisitionDateTime", "FrameReferenceDateTime", "DateOfLastCalibration"),
)
DESCRIPTIONS = (
    *("StudyDescription", "SeriesDescription", "ProtocolName", "ImageComments", "StudyComments", "VisitComments"),
    *("RequestedProcedureDescription", "PerformedProcedureStepDescription", "AcquisitionComments", "FrameComments"),
    *("AdmittingDiagnosesDescription", "DerivationDescription", "RequestAttributesSequence", "ReasonForStudy"),
)
IDENTIFYING = (*PATIENT, *PEOPLE, *PLACES, *DATES, *DESCRIPTIONS)

_EMPTY = ("", "anonymous", "anonymized", "anonymised", "anon", "removed", "none", "unknown", "n/a", "null")
_SCREEN_WORDS = ("SCREEN SAVE", "SCREENSAVE", "SCREEN CAPTURE", "SCREENSHOT")
_CAPTURED = ("DF", "DV", "SD", "SI", "WSD")  # of film, video, documents, scans and workstations, which show text


def identifying_values(dataset: Dataset, *, uids: bool = False) -> dict[str, str]:
    """Keyword and value of each identifying attribute that has a value, in sequences too.

    Values that de-identification leaves behind, such as "Anonymous", do not count.

    Args:
        dataset: the header; values that cannot be read are skipped.
        uids: also return the UIDs of the study, series and image, which identify the patient in the archive.
    """
    found: dict[str, str] = {}
    for element in _elements(dataset):
        wanted = element.keyword in IDENTIFYING or element.VR == "PN"
        wanted |= uids and element.VR == "UI" and element.keyword.endswith("InstanceUID")
        if not wanted or element.VR == "SQ":
            continue
        value = element.value
        several = value if isinstance(value, list | tuple) or element.VM > 1 else [value]
        text = ", ".join(str(single).strip() for single in several if single is not None)
        if text.lower().strip(" ^*-") not in _EMPTY:
            found.setdefault(element.keyword, text)
    return found


def burned_in_reason(dataset: Dataset) -> str | None:
    """Why the pixels may show a name; None where the header gives no hint, which is no proof that they do not."""
    stated = _text(dataset, "BurnedInAnnotation")
    if stated == "YES":
        return "its header states it (BurnedInAnnotation)"
    if stated == "NO":
        return None
    sop_class = UID(_text(dataset, "SOPClassUID")).name
    kind = _text(dataset, "ImageType").replace("\\", " ")
    if "Secondary Capture" in sop_class or _text(dataset, "ConversionType") in _CAPTURED:
        return "it is a secondary capture, such as of a screen or a film"
    if any(word in kind for word in _SCREEN_WORDS):
        return "it is a screen shot"
    if "Ultrasound" in sop_class or _text(dataset, "Modality") == "US":
        return "ultrasound machines write the patient's name into the picture"
    return None


def _elements(dataset: Dataset) -> Iterator[DataElement]:
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
        except Exception:  # pydicom can raise nearly anything on a value that does not fit its type
            continue
        yield element
        if element.VR == "SQ":
            for item in element.value or []:
                yield from _elements(item)


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    several = (
        value if value is not None and not isinstance(value, str) and hasattr(value, "__iter__") else [value or ""]
    )
    return "\\".join(str(single) for single in several).upper().strip()
