"""Files of torch hold tensors and containers, and no more bytes than the file."""

import pickle
import zipfile

import pytest
import torch

from vesalius.models.nets.tensor_files import load_tensors


@pytest.mark.parametrize("archive", [True, False])
def test_what_torch_wrote_is_read_in_both_formats(archive, tmp_path) -> None:
    content = {"a": torch.arange(6.0).reshape(2, 3), "b": [1, "x", None], "c": torch.tensor(3)}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=archive)
    read = load_tensors(tmp_path / "a.pt")
    assert torch.equal(read["a"], content["a"])
    assert read["b"] == content["b"]
    assert read["c"] == 3


def test_views_of_shared_bytes_are_read_up_to_a_factor(tmp_path) -> None:
    tied = torch.arange(1000.0)
    torch.save({"a": tied, "b": tied, "c": tied.expand(2, 1000)}, tmp_path / "a.pt")
    assert load_tensors(tmp_path / "a.pt")["c"].shape == (2, 1000)
    torch.save({"a": torch.zeros(1).expand(10**9)}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="larger than the file"):
        load_tensors(tmp_path / "a.pt")


def test_other_kinds_of_tensors_are_refused(tmp_path) -> None:
    torch.save({"a": torch.zeros(10**6, device="meta")}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="larger than the file"):
        load_tensors(tmp_path / "a.pt")
    torch.save({"a": torch.sparse_coo_tensor([[0]], [1.0], (10**9,))}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"larger than the file|more than tensors"):
        load_tensors(tmp_path / "a.pt")


def test_compressed_archives_are_refused(tmp_path) -> None:
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as whole, zipfile.ZipFile(tmp_path / "b.pt", "w", 8) as packed:
        for entry in whole.infolist():
            packed.writestr(entry.filename, whole.read(entry))
    assert torch.load(tmp_path / "b.pt", weights_only=True)["a"].numel() == 10**6  # torch would read it
    with pytest.raises(ValueError, match="compressed"):
        load_tensors(tmp_path / "b.pt")


class Payload:
    def __reduce__(self):
        return print, ("ran",)


def test_a_pickle_is_named_and_not_run(tmp_path, capsys) -> None:
    (tmp_path / "a.pt").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ValueError, match="it is a pickle") as caught:
        load_tensors(tmp_path / "a.pt")
    assert "weights_only" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_containers_without_end_are_refused(tmp_path) -> None:
    node: list = [1]
    for _ in range(20):
        node = [node] * 10
    torch.save(node, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="more parts"):
        load_tensors(tmp_path / "a.pt")
