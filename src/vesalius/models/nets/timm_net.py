"""Any image network of timm by its name; weights from a file or from the caches of this machine."""

import re
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.config.targets import import_extra
from vesalius.models.nets.base import Net
from vesalius.models.nets.heads import build_head
from vesalius.models.nets.stages import check_image, split_stages
from vesalius.models.nets.weight_record import WeightRecord, record_of_file
from vesalius.models.nets.weights import is_path, read_weights
from vesalius.runs.hashes import file_hash

# Words for data sets in a timm tag, such as `augreg_in21k_ft_in1k`.
_IMAGENET = re.compile(r"inw?(1|12|21|22)k")
_OTHER_SETS = re.compile(r"(laion|lvd|yfcc|ig|cc|dfn|datacomp|sa|sat|merged|webli|jft|m3|openai)\w*")


class TimmNet(Net):
    """A network of timm (PyTorch Image Models) by name: `trunk` maps images to feature vectors, `head` to logits.

    The constructor reads no weights; `load_pretrained` does, once, for a run that starts from scratch.

    Args:
        in_channels: channels of the image; timm adapts a pretrained stem to other than 3.
        num_outputs: number of logits.
        architecture: a name of `timm.list_models()`, or of `timm.list_pretrained()` with the tag of its weights.
        weights: the path of a state dict; `cached`: those of the tag (by default of timm's first), from the caches of
            the Hugging Face hub and of torch; None for random ones.
        download: fetch weights that are in no cache; else nothing is fetched.
        dropout: probability before the last layer.

    Attributes:
        feature_dim: length of a feature vector.

    Raises:
        InputError: for an unknown network, and where the extra `backbones` is not installed.
    """

    def __init__(
        self,
        in_channels: int,
        num_outputs: int,
        *,
        architecture: str,
        weights: str | None = None,
        download: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        timm = import_extra("timm", f"model.net.architecture={architecture}")
        names = [*timm.list_models(), *timm.list_pretrained()]
        if architecture not in names:
            hint = did_you_mean(architecture, names)
            raise InputError(f"model.net.architecture={architecture}: timm has no such network.{hint}")
        if weights is not None and weights != "cached" and not is_path(weights):
            raise InputError(f"model.net.weights={weights}: expected cached, the path of a file, or null.")
        self.architecture, self.weights, self.download = architecture, weights, download
        self.in_channels = in_channels
        self.trunk: nn.Module = self._create()
        self.feature_dim = int(getattr(self.trunk, "head_hidden_size", None) or cast(Any, self.trunk).num_features)
        self.head = build_head("linear", self.feature_dim, num_outputs, dropout)

    def features(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to feature vectors (B, feature_dim)."""
        features: Tensor = self.trunk(x)
        return features

    def stages(self) -> list[nn.Module]:
        """A stage begins where the resolution drops, or with each block of a transformer."""
        return split_stages(self.trunk)

    def check_image(self, channels: int, height: int, width: int) -> None:
        """Refuse images that the architecture cannot take."""
        check_image(self, self.architecture, channels, height, width, self._config["input_size"][-1])

    def load_pretrained(self) -> WeightRecord | None:
        """Load the weights that the config names, if any, and return their record.

        Raises:
            InputError: if they are missing or damaged, or do not fit.
        """
        if self.weights is None:
            return None
        file = Path(self.weights).expanduser() if is_path(self.weights) else self._find()
        state = read_weights(str(file))
        try:
            with torch.random.fork_rng(devices=[]):  # a second network, whose random weights must not change the run
                loaded = self._create(
                    pretrained=True, pretrained_cfg_overlay={"state_dict": state, "custom_load": False}
                )
        except (RuntimeError, KeyError, ValueError) as error:
            raise InputError(
                f"model.net.weights={self.weights} does not fit {self.architecture}: {str(error).splitlines()[0]} "
                "Is it a file of the same architecture, with timm's names?"
            ) from error
        self.trunk.load_state_dict(loaded.state_dict())
        if is_path(self.weights):
            return record_of_file(self.weights, self.architecture)
        return self._record(file)

    @property
    def _config(self) -> dict[str, Any]:
        """What timm knows of the weights of this network."""
        config: dict[str, Any] = cast(Any, self.trunk).pretrained_cfg
        return config

    def _create(self, **options: Any) -> nn.Module:
        import timm

        return timm.create_model(self.architecture, num_classes=0, in_chans=self.in_channels, **options)

    def _find(self) -> Path:
        """The file of the named weights in a cache of this machine, which is filled only if asked.

        Raises:
            InputError: where it is in none, or cannot be fetched.
        """
        from huggingface_hub import hf_hub_download, try_to_load_from_cache

        hub, url = self._config.get("hf_hub_id"), self._config.get("url") or ""
        repository, _, revision = str(hub or "").partition("@")
        for name in ("model.safetensors", "pytorch_model.bin") if hub else ():
            found = try_to_load_from_cache(repository, name, revision=revision or None)
            if isinstance(found, str):
                return Path(found)
        cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
        if url and cached.is_file():
            return cached
        copy = "or set model.net.weights=FILE for a local copy, or model.net.weights=null to train without"
        if not hub:
            raise InputError(f"model.net.weights=cached: there are no weights of {self.architecture} to fetch: {copy}.")
        if not self.download:
            raise InputError(
                f"model.net.weights=cached: those of {repository} are not on this machine, and nothing is fetched "
                f"unless you ask: set model.net.download=true, {copy}."
            )
        try:
            return Path(hf_hub_download(repository, "model.safetensors", revision=revision or None))
        except Exception as error:  # the hub raises many types
            raise InputError(
                f"model.net.weights=cached: {repository} could not be fetched ({str(error).splitlines()[0]}): {copy}."
            ) from error

    def _record(self, file: Path) -> WeightRecord:
        config = self._config
        return WeightRecord(
            architecture=self.architecture,
            name=str(config.get("hf_hub_id") or file.name),
            source=str(config.get("origin_url") or config.get("url") or "timm"),
            licence=str(config.get("license") or "unknown"),
            trained_on=_data_sets(str(config.get("tag") or "")),
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            sha256=file_hash(file),
        )


def _data_sets(tag: str) -> tuple[str, ...]:
    """The data sets that a tag names; the tag itself where it names none."""
    words = tag.split("_")
    found = [f"ImageNet-{match[1]}k" for word in words if (match := _IMAGENET.fullmatch(word))]
    found += [word for word in words if _OTHER_SETS.fullmatch(word)]
    return tuple(found) or (f"what timm calls {tag or 'unknown'}",)
