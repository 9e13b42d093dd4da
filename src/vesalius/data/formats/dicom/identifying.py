"""What in a DICOM file tells who the patient is.

The attributes are those of the basic confidentiality profile (DICOM PS3.15, table E.1-1) that hold text or dates about
the patient, the people around, the place and the time; further, every attribute that holds a person's name. Not looked
at: private attributes, free text under other keywords, overlays, and what is drawn into the pixels (`burned_in` only
says where that is likely).
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
    *(
        "RequestingPhysician",
        "ScheduledPerformingPhysicianName",
        "OperatorsName",
        "OrderEnteredBy",
        "OrderEntererLocation",
    ),
    *("VerifyingObserverName", "PersonName", "ContentCreatorName", "HumanPerformerName", "ReviewerName"),
    *("PersonAddress", "PersonTelephoneNumbers", "OrderCallbackPhoneNumber"),
)
PLACES = (
    *("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "DeviceSerialNumber"),
    *(
        "RequestingService",
        "ScheduledStationName",
        "PerformedStationName",
        "PerformedLocation",
        "HumanPerformerOrganization",
    ),
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
_CAPTURED = ("DF", "DV", "SD", "SI", "WSD")  # film, video, documents, scans and workstations, which show text


def identifying_values(dataset: Dataset, *, uids: bool = False) -> dict[str, str]:
    """Keyword and value of each identifying attribute that is filled in, in sequences too.

    What de-identification leaves behind, such as "Anonymous" or nothing, does not count.

    Args:
        dataset: the header; values that cannot be read are passed over.
        uids: also give the UIDs of the study, series and image, which lead back to a patient where the archive is.
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


def burned_in(dataset: Dataset) -> str | None:
    """Why a name may be drawn into the pixels; None where nothing in the header says so, which proves nothing."""
    stated = _text(dataset, "BurnedInAnnotation")
    if stated == "YES":
        return "its header says so (BurnedInAnnotation)"
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
        except Exception:  # pydicom can raise nearly anything on a value that is not what its type says
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
