"""What a stranger could hand over: folders and files that would run code, write elsewhere, or fill the memory.

Each function writes into a folder where `run` is a copy of a trained run, `outside` holds what must not change, and
`RAN` must never appear; it returns the arguments of the command that is given them.
"""

import gzip
import io
import json
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import torch
import yaml
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_maker import new_image, write_image
from vesalius.config.compose import load_config
from vesalius.training.checkpoint_files import write_checkpoint

STORED = Path(__file__).parents[1] / "stored_runs"
SMALL = ["data.source.patients=32", "data.source.slices=1", "data.source.image_size=28", "trainer=cpu", "logger=none"]
SMALL += ["trainer.max_epochs=1", "evaluation.baselines=false", "data.source.seed=9", "hydra.run.dir=new"]


DESPITE = "resume_despite=[code]"  # what is stored is of an older commit


class Payload:
    """Unpickled, it would write a file."""

    def __init__(self, ran: Path) -> None:
        self.ran = str(ran)

    def __reduce__(self) -> Any:
        return open, (self.ran, "w")


def evil(place: Path) -> dict[str, Any]:
    """A node whose module writes a file when it is imported, and whose function when it is called."""
    return {"_target_": "evil.Net"}


def copying(place: Path) -> dict[str, Any]:
    return {"_target_": "shutil.copy", "src": str(place / "source"), "dst": str(place / "RAN")}


def copied(place: Path, name: str, family: str = "cnn", state: str = "finished") -> Path:
    shutil.rmtree(place / name, ignore_errors=True)
    return Path(shutil.copytree(STORED / family / state, place / name))


def edit_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def edit_checkpoint(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = torch.load(path, weights_only=True)
    change(content)
    write_checkpoint(content, path)


def with_payload(folder: Path, node: dict[str, Any], name: str = "best") -> None:
    def change(content: dict[str, Any]) -> None:
        content["config"]["model"] = {**content["config"]["model"], "net": node}

    edit_checkpoint(folder / "checkpoints" / f"{name}.ckpt", change)


# --- targets ---------------------------------------------------------------------------------------------------------


def config_of(verb: str) -> Callable[[Path], list[str]]:
    def write(place: Path) -> list[str]:
        edit_config(place / "run", lambda config: config["data"].update(augment=evil(place)))
        return [verb, "run=run"]

    return write


def resumed_config(place: Path) -> list[str]:
    edit_config(copied(place, "run", state="interrupted"), lambda config: config["model"].update(net=copying(place)))
    return ["train", "resume=run", DESPITE]


def checkpoint_of(*command: str, family: str = "cnn") -> Callable[[Path], list[str]]:
    def write(place: Path) -> list[str]:
        with_payload(copied(place, "run", family), copying(place))
        return list(command)

    return write


def members(place: Path) -> list[str]:
    for name, seed in (("run", 1), ("other", 2)):
        with_payload(copied(place, name), evil(place))
        edit_config(place / name, lambda config, seed=seed: config.update(seed=seed))
    return ["ensemble", "runs=[run,other]", "out=out"]


def study(place: Path) -> list[str]:
    config = {**load_config("gain", []), "both": ["model.net._target_=evil.Net"], "cnn": ["data.steps_per_epoch=1"]}
    (place / "study").mkdir()
    (place / "study" / "config.yaml").write_text(yaml.safe_dump(config))
    return ["gain", "resume=study"]


def text_for_later(place: Path) -> list[str]:
    """What rerun copies would be signed, and with it a name that only another config, loaded next to it, builds."""
    edit_config(place / "run", lambda config: config.update(name="a _target_: evil.Net"))
    return ["rerun", "run=run"]


def first_weights(place: Path) -> list[str]:
    with_payload(place / "run", evil(place))
    return ["train", *SMALL, "init_from=run"]


def extractor(place: Path) -> list[str]:
    with_payload(place / "run", evil(place))
    gan = ["model=gan", "data.image_size=16", "model.generator.width=4", "model.critic.width=4"]
    return ["train", *gan, *SMALL, "evaluation.extractor=run"]


# --- pickles and checkpoints -----------------------------------------------------------------------------------------


def pickled(
    *command: str, name: str = "run/checkpoints/best.ckpt", state: str = "finished"
) -> Callable[[Path], list[str]]:
    def write(place: Path) -> list[str]:
        copied(place, "run", state=state)
        (place / name).write_bytes(pickle.dumps(Payload(place / "RAN")))
        return list(command)

    return write


def pickle_in_an_archive(place: Path) -> list[str]:
    path = place / "run" / "checkpoints" / "best.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best/data.pkl", pickle.dumps(Payload(place / "RAN"), protocol=2))
        archive.writestr("best/version", "3\n")
    return ["evaluate", "run=run"]


def compressed_checkpoint(place: Path) -> list[str]:
    """Four gigabytes of zeros in four megabytes."""
    path = place / "run" / "checkpoints" / "best.ckpt"
    content = zipfile.ZipFile(path)
    packed = path.with_suffix(".new")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for entry in content.infolist():
            archive.writestr(entry.filename, content.read(entry))
        with archive.open("best/data/zeros", "w", force_zip64=True) as file:
            for _ in range(64):
                file.write(bytes(2**24))
    packed.replace(path)
    return ["predict", "run=run", "input=source"]


def in_checkpoint(change: Callable[[dict[str, Any]], None], *command: str) -> Callable[[Path], list[str]]:
    def write(place: Path) -> list[str]:
        edit_checkpoint(place / "run" / "checkpoints" / "best.ckpt", change)
        return list(command or ("evaluate", "run=run"))

    return write


def views(content: dict[str, Any]) -> None:
    """A number that counts as a hundred thousand million of them."""
    content["state_dict"] = {name: torch.zeros(1).expand(10**11) for name in content["state_dict"]}


def laughs(content: dict[str, Any]) -> None:
    """A list of ten lists of ten lists ..., each of them the same."""
    node: list[Any] = ["ha"]
    for _ in range(30):
        node = [node] * 10
    content["config"]["data"]["augment"] = node


def huge_model(content: dict[str, Any]) -> None:
    content["config"]["model"]["net"]["widths"] = [100_000, 100_000]


def huge_image(content: dict[str, Any]) -> None:
    content["facts"]["image_size"] = [10**9, 10**9]


def resumed(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], list[str]]:
    def write(place: Path) -> list[str]:
        edit_checkpoint(copied(place, "run", state="interrupted") / "checkpoints" / "last.ckpt", change)
        return ["train", "resume=run", DESPITE]

    return write


def short_states(content: dict[str, Any]) -> None:
    """A fused step of the optimiser would write beyond them."""
    for states in content["optimizer_states"][0]["state"].values():
        states |= {name: torch.zeros(1) for name in ("exp_avg", "exp_avg_sq")}


def strange_callbacks(content: dict[str, Any]) -> None:
    content["callbacks"] = {key: {"rows": 3} for key in content["callbacks"]}


def not_finite(content: dict[str, Any]) -> None:
    next(iter(content["state_dict"].values())).fill_(float("nan"))


def other_shapes(content: dict[str, Any]) -> None:
    name = next(iter(content["state_dict"]))
    content["state_dict"][name] = torch.zeros(7, 7)


def truncated(place: Path) -> list[str]:
    path = place / "run" / "checkpoints" / "best.ckpt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return ["export", "run=run"]


# --- text files ------------------------------------------------------------------------------------------------------


def text(name: str, content: str, *command: str) -> Callable[[Path], list[str]]:
    def write(place: Path) -> list[str]:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
        return list(command)

    return write


def merges() -> str:
    """Nine levels of ten merged mappings each: a thousand million keys."""
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    return "\n".join(lines)


def references() -> str:
    lines = ["a0: &a0 [ha]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))]
    return "\n".join(lines)


# --- links and paths -------------------------------------------------------------------------------------------------


def link(name: str, *command: str, to: str = "outside", state: str = "finished") -> Callable[[Path], list[str]]:
    def write(place: Path) -> list[str]:
        path = copied(place, "run", state=state) / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(place / to)
        return list(command)

    return write


def synthetic(file: str, linked: bool = False, **change: Any) -> Callable[[Path], list[str]]:
    """A folder of synthetic images whose list names a file elsewhere, or whose manifest is absurd."""

    def write(place: Path) -> list[str]:
        folder = place / "synthetic"
        folder.mkdir()
        image = {"channels": 1, "height": 28, "width": 28, "value_max": 255, **change}
        classes = load_classes()
        manifest = {"kind": "vesalius synthetic images", "schema": 1, "run": "a/b", "n": 1, "classes": classes}
        (folder / "manifest.json").write_text(json.dumps({**manifest, "split": "0", "image": image}))
        (folder / "manifest.csv").write_text(f"file,label\n{file},{classes[0]}\n")
        (place / "7.png").write_bytes(png(28, 28))
        if linked:
            (folder / file).symlink_to(place / "7.png")
        return ["train", *SMALL, "data.synthetic=synthetic", "data.synthetic_ratio=1"]

    return write


def load_classes() -> list[str]:
    return ["healthy", "nodule", "cyst", "spiculated"]


# --- bombs -----------------------------------------------------------------------------------------------------------


def png(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG of zeros of any size; its content takes a thousandth of that."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = bytes(1 + width * (3 if colour == 2 else 4 if colour == 6 else 1) * depth // 8)
    packer, packed = zlib.compressobj(1), io.BytesIO()
    for _ in range(height):
        packed.write(packer.compress(row))
    packed.write(packer.flush())
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed.getvalue()) + chunk(b"IEND", b"")


def predicted(place: Path) -> list[str]:
    return ["predict", "run=run", "input=bomb", "on_bad_file=error"]


def png_bomb(place: Path) -> list[str]:
    (place / "bomb").mkdir()
    (place / "bomb" / "a.png").write_bytes(png(20_000, 8_000, colour=6))
    return predicted(place)


def png_of_gigapixels(place: Path) -> list[str]:
    (place / "bomb").mkdir()
    content = bytearray(png(16, 16))
    content[16:24] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    (place / "bomb" / "a.png").write_bytes(bytes(content))
    return predicted(place)


def dicom_header(place: Path) -> list[str]:
    dataset = new_image(np.zeros((8, 8), np.uint16))
    dataset.Rows = dataset.Columns = 65_535
    (place / "bomb").mkdir()
    dataset.save_as(place / "bomb" / "a.dcm", enforce_file_format=True)
    return predicted(place)


def dicom_frames(place: Path) -> list[str]:
    """Hundreds of large frames of a few bytes each."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import RLELossless

    dataset = new_image(np.zeros((8, 8), np.uint16), transfer_syntax=RLELossless)
    dataset.Rows = dataset.Columns = 2048
    dataset.NumberOfFrames = 1000
    dataset.PixelData = encapsulate([bytes(64)] * 1000)
    (place / "bomb").mkdir()
    dataset.save_as(place / "bomb" / "a.dcm", enforce_file_format=True)
    return predicted(place)


def dicom_deflated(place: Path) -> list[str]:
    """A header of five hundred megabytes of empty items, in half a megabyte."""
    path = write_image(place / "bomb" / "a.dcm", np.zeros((8, 8), np.uint16))
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.ImageComments = "0"
    dataset.save_as(path)
    dataset, content = pydicom.dcmread(path), path.read_bytes()
    start = 128 + 4 + 12 + dataset.file_meta.FileMetaInformationGroupLength
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = packer.compress(sequence) + b"".join(packer.compress(item * 2**17) for _ in range(500)) + packer.flush()
    path.write_bytes(content[:start] + packed)
    return predicted(place)


def volumes(place: Path) -> Path:
    """A folder of small volumes of two classes, and the place for one more."""
    for number in range(12):
        path = place / "bomb" / "ab"[number % 2] / f"{number}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), path)
    return place / "bomb" / "a"


def nifti_bomb(place: Path) -> list[str]:
    """Two gigabytes of voxels in two megabytes."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((1024, 1024, 1024))
    header["vox_offset"], header["magic"], header["sform_code"] = 352, b"n+1", 1
    header["srow_x"][0] = header["srow_y"][1] = header["srow_z"][2] = 1
    with gzip.open(volumes(place) / "a.nii.gz", "wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(128):
            file.write(bytes(2**24))
    return ["train", "data=nifti", "data.source.root=bomb", "trainer=cpu", "logger=none"]


def nifti_header(place: Path) -> list[str]:
    nifti = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    nifti.header["dim"][1:4] = 32_767
    (volumes(place) / "a.nii").write_bytes(nifti.header.binaryblock + bytes(4 + 128))
    return ["train", "data=nifti", "data.source.root=bomb", "trainer=cpu", "logger=none"]


def npz(images: bytes, labels: np.ndarray | None = None) -> Callable[[Path], list[str]]:
    """An archive whose member `images.npy` has this content."""

    def write(place: Path) -> list[str]:
        with zipfile.ZipFile(place / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("images.npy", images)
            file = io.BytesIO()
            np.save(file, np.array(["a", "b"] * 4) if labels is None else labels)
            archive.writestr("labels.npy", file.getvalue())
        return ["audit", "data=npz", "data.source.file=bomb.npz"]

    return write


def npy(shape: str, dtype: str = "|u1", content: bytes = b"") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def npz_bomb(place: Path) -> list[str]:
    """Eight images of five hundred megabytes each."""
    with zipfile.ZipFile(place / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("images.npy", "w", force_zip64=True) as file:
            file.write(npy("(8, 25000, 25000)"))
            for _ in range(8):
                for _ in range(25):
                    file.write(bytes(25_000_000))
        file = io.BytesIO()
        np.save(file, np.array(["a", "b"] * 4))
        archive.writestr("labels.npy", file.getvalue())
    return ["audit", "data=npz", "data.source.file=bomb.npz"]


def npz_objects(place: Path) -> list[str]:
    objects = np.empty(8, object)
    objects[:] = Payload(place / "RAN")
    file = io.BytesIO()
    np.save(file, objects, allow_pickle=True)
    return npz(file.getvalue())(place)


# --- sweeps ----------------------------------------------------------------------------------------------------------


def sweep(place: Path) -> list[str]:
    """With the scheduler's files and a study, all of which are pickles or could name code."""
    folder = place / "sweep"
    (folder / ".submitit").mkdir(parents=True)
    (folder / "study").mkdir()
    for name in ("1_0_result.pkl", "1_submitted.pkl"):
        (folder / ".submitit" / name).write_bytes(pickle.dumps(Payload(place / "RAN")))
    (folder / "study" / "journal.log").write_text("{}\n")
    content = {"schema": 1, "verb": "train", "arguments": ["model.net._target_=evil.Net"], "jobs": [], "axes": {}}
    content |= {"directory": str(place), "sweeper": "basic", "signature": "0" * 128}
    (folder / "sweep.json").write_text(json.dumps(content))
    return ["train", "-m", "resume=sweep"]


def journal(place: Path) -> list[str]:
    """A study without a sweep, which a new search in that folder would go on with."""
    (place / "sweep" / "study").mkdir(parents=True)
    lines = [{"op_code": 0, "worker_id": "a", "study_name": "study", "directions": [2]}]
    lines += [{"op_code": 4, "worker_id": "a", "study_id": 0, "datetime_start": "x", "params": pickle.dumps(1).hex()}]
    (place / "sweep" / "study" / "journal.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    search = ["hydra/sweeper=vesalius_optuna", "model.optimizer.lr=interval(0.001,0.1)", "hydra.sweeper.n_trials=1"]
    return ["train", "-m", *search, *SMALL[:-1], "hydra.sweep.dir=sweep"]


# --- bundles ---------------------------------------------------------------------------------------------------------


def bundle(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], list[str]]:
    def write(place: Path) -> list[str]:
        manifest = json.loads((place / "bundle" / "manifest.json").read_text())
        change(manifest)
        (place / "bundle" / "manifest.json").write_text(json.dumps(manifest))
        return ["predict", "bundle=bundle", "input=source"]

    return write


def leaving(manifest: dict[str, Any]) -> None:
    manifest["hashes"]["../outside/secret"] = "0" * 64


def absurd(manifest: dict[str, Any]) -> None:
    manifest["facts"]["image_size"] = [2**40, 2**40]


def no_type(manifest: dict[str, Any]) -> None:
    manifest["outputs"][0]["dtype"] = "O"


def bundle_link(place: Path) -> list[str]:
    path = place / "bundle" / "model.onnx"
    path.unlink()
    path.symlink_to(place / "outside" / "secret")
    return ["predict", "bundle=bundle", "input=source"]


def external_data(place: Path) -> list[str]:
    """A graph whose weights lie in a file elsewhere."""
    import hashlib

    import onnx

    path = place / "bundle" / "model.onnx"
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", str(place / "outside" / "secret")), ("offset", "0")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())

    def rehash(manifest: dict[str, Any]) -> None:
        manifest["hashes"]["model.onnx"] = hashlib.sha256(path.read_bytes()).hexdigest()

    return bundle(rehash)(place)
