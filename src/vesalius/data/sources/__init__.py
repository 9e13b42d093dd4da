"""Sources of images: folders, tables, DICOM, NIfTI, video, public sets, phantoms."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["Source"],
        "dicom.dicom": ["Dicom"],
        "frame_folder": ["FrameFolder"],
        "image_folder": ["ImageFolder"],
        "labelled_source": ["LabelledSource"],
        "lesions": ["Lesions"],
        "medmnist.medmnist": ["MedMNIST"],
        "npz": ["Npz"],
        "perfusion": ["Perfusion"],
        "tables.table": ["Table"],
        "video": ["Video"],
        "volumes.nifti": ["Nifti"],
    },
)
