"""Plain networks without Lightning: what an export contains."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "autoencoder.article": ["ArticleAutoencoder"],
        "autoencoder.base": ["CodingNet"],
        "autoencoder.decoder": ["RefiningDecoder", "ResidualDecoder"],
        "autoencoder.net": ["AutoencoderNet"],
        "base": ["Net", "Staged"],
        "efficientnet_lite": ["EfficientNetLite0"],
        "flat": ["FlatNet"],
        "gan.article": ["ArticleCritic", "ArticleGenerator"],
        "gan.base": ["Critic", "Generator"],
        "gan.dcgan": ["DCGANCritic", "DCGANGenerator"],
        "gan.residual": ["ResidualCritic", "ResidualGenerator"],
        "preprocess": ["Preprocess"],
        "residual": ["SmallResNet"],
        "series.attention": ["AttentionNet"],
        "series.base": ["SeriesNet"],
        "series.recurrent": ["RecurrentNet"],
        "series.transformer": ["TransformerNet"],
        "timm_net": ["TimmNet"],
        "torchvision_net": ["TorchvisionNet"],
    },
)
