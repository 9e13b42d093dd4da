"""How the images that a model learns from were acquired."""

from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.formats.acquisition import Acquisition, AcquisitionRange


def training_acquisition(data: ImageDataModule) -> AcquisitionRange:
    """The range over the training images of what the headers of their files state, once the data are set up."""
    train = data.table[data.table["split"] == "train"]
    stated = [one for one in train.get("_acquisition", ()) if isinstance(one, Acquisition)]
    return AcquisitionRange.of(stated, data.facts.image_size)
