"""Facts of the six 3-D sets of MedMNIST v2 (Yang et al., Sci Data 10:41, 2023); no volumes.

Their files are in the same record on Zenodo as those of the 2-D sets. All are CC BY 4.0.
"""

from vesalius.data.sources.medmnist.sets import MedMNISTSet

VOLUME_SIZES = (28, 64)

VOLUME_SETS: dict[str, MedMNISTSet] = {
    "organmnist3d": MedMNISTSet(
        task="multiclass",
        channels=1,
        classes=(
            "liver",
            "kidney-right",
            "kidney-left",
            "femur-right",
            "femur-left",
            "bladder",
            "heart",
            "lung-right",
            "lung-left",
            "spleen",
            "pancreas",
        ),
        md5={28: "a0c5a1ff56af4f155c46d46fbb45a2fe", 64: "58a2205adf14a9d0a189cb06dc78bf10"},
    ),
    "nodulemnist3d": MedMNISTSet(
        task="binary",
        channels=1,
        classes=(
            "benign",
            "malignant",
        ),
        md5={28: "8755a7e9e05a4d9ce80a24c3e7a256f3", 64: "c47c5b7d457bf6332200d2ea6d64ecd8"},
    ),
    "adrenalmnist3d": MedMNISTSet(
        task="binary",
        channels=1,
        classes=(
            "normal",
            "hyperplasia",
        ),
        md5={28: "bbd3c5a5576322bc4cdfea780653b1ce", 64: "17721accfe9fb005146a47d33bc54b2f"},
    ),
    "fracturemnist3d": MedMNISTSet(
        task="multiclass",
        channels=1,
        classes=(
            "buckle rib fracture",
            "nondisplaced rib fracture",
            "displaced rib fracture",
        ),
        md5={28: "6aa7b0143a6b42da40027a9dda61302f", 64: "f01d7e6316aedf4210da0da5b7437b42"},
    ),
    "vesselmnist3d": MedMNISTSet(
        task="binary",
        channels=1,
        classes=(
            "vessel",
            "aneurysm",
        ),
        md5={28: "b41fd4f7e7e2feedddb201585ecafa1b", 64: "6bb274a8846e1097066dcd64e2c4520f"},
    ),
    "synapsemnist3d": MedMNISTSet(
        task="binary",
        channels=1,
        classes=(
            "inhibitory synapse",
            "excitatory synapse",
        ),
        md5={28: "1235b78a3cd6280881dd7850a78eadb6", 64: "43bd14ebf3af9d3dd072446fedc14d5e"},
    ),
}
