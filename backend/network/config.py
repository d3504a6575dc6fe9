# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes of the network. One implementation serves every preset."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from ..errors import CheckpointError

FROZEN = "frozen"
LEARNABLE = "learnable"


@dataclass(frozen=True)
class NetworkConfig:
    """All sizes of a PartSAM network; `PRESETS` names the two that are used.

    points: input points that a shape is sampled with
    branches: encoder branches, a subset of (frozen, learnable); several are averaged. Only the
        learnable one sees colours and normals.
    mask_prompt_points: of these many points (a random subset) the previous mask is read as a dense
        prompt; None reads all of them
    sdf_channels: leading triplane channels that are computed but not used (published layout)
    mask_channels: length of the vectors whose dot product is a mask logit

    Where `small` goes beyond the published network; all off there:
    point_attributes: the point-wise head also reads position, normal and colour of each location, so that
        borders are not bound to the triplane's texels
    click_scales: at so many distances, each half the one before, the point-wise head sees how near the
        clicks are: corrections smaller than a patch (0: not at all)
    mask_scores: predicted IoUs are read off the masks at the patch centres, not off a token alone
    normal_distance: how far apart (in the network's cube) two points at one place count whose normals
        differ by 1, when centres are spread and neighbours sought: patches then stay on one side of a
        crease and crowd where the surface turns
    size_prompt: a click may come with the size of the part that is meant
    score_context: the predicted IoU of each mask of a click also reads how it lies to the other masks, and
        to the size that was asked for
    score_regions: it also reads how the mask agrees with the crease regions that hold the clicks
    patch_layers, patch_width, patch_heads: of a transformer among the patches, before any prompt (0: none)
    patch_regions: hidden width of the layers that read how each two patches hang together by the regions that
        creases bound, for the attention between them (0: none)
    region_prompt: hidden width of the layers that read how each place hangs together with the clicks by the
        regions that creases bound (0: none)
    region_close_ups: so it does in close-ups and in training's crops, too
    upright: shapes that are segmented are turned by right angles first, so that they stand, whatever their
        file's axes (`backend.upright`); training turns them as its configuration says

    half_precision: on a graphics card. float16 is the more precise one: on two shapes 98 to 100 % of the
        faces had the part that float32 gives them, with bfloat16 75 to 99.8 %. Its numbers end at 65,504;
        those of `small` reach 3,340, and the published network's are unknown.
    """

    name: str
    points: int
    branches: tuple[str, ...]
    voxel_resolution: int
    voxel_channels: int
    plane_resolution: int
    unet_widths: tuple[int, ...]
    transformer_width: int
    transformer_depth: int
    transformer_heads: int
    plane_channels: int
    sdf_channels: int
    patches: int
    patch_neighbors: int
    decoder_width: int
    decoder_depth: int
    decoder_heads: int
    decoder_mlp_width: int
    mask_prompt_widths: tuple[int, int]
    mask_channels: int
    mask_prompt_points: int | None
    mask_prompt_neighbors: int
    point_attributes: bool = False
    click_scales: int = 0
    mask_scores: bool = False
    normal_distance: float = 0.0
    size_prompt: bool = False
    score_context: bool = False
    score_regions: bool = False
    patch_layers: int = 0
    patch_width: int = 256
    patch_heads: int = 8
    patch_regions: int = 0
    region_prompt: int = 0
    region_close_ups: bool = False
    upright: bool = False
    half_precision: str = "float16"

    def __post_init__(self) -> None:
        sizes = [value for value in dataclasses.astuple(self) if type(value) is int]
        if min(*sizes, *self.unet_widths, *self.mask_prompt_widths) < 0 or not self.unet_widths:
            raise ValueError("sizes cannot be negative, and the U-Net needs a level")
        if not (self.transformer_heads and self.decoder_heads and self.patch_heads):
            raise ValueError("attention needs at least one head")
        if not self.branches or set(self.branches) - {FROZEN, LEARNABLE}:
            raise ValueError(f"branches must be from {FROZEN!r}, {LEARNABLE!r}; got {self.branches}")
        if self.plane_resolution % 4:
            raise ValueError("plane_resolution must be divisible by 4: tokens are 4 x 4 texels")
        heads_of = {
            "transformer_width": self.transformer_heads,
            "decoder_width": 2 * self.decoder_heads,
            "patch_width": self.patch_heads,
        }
        for name, heads in heads_of.items():
            if getattr(self, name) % heads:
                raise ValueError(f"{name} must be divisible by {heads}")
        if self.patch_regions and not (self.patch_layers and self.region_prompt):
            raise ValueError("patch_regions needs patch_layers and region_prompt")
        if self.half_precision not in ("float16", "bfloat16"):
            raise ValueError(f"half_precision is float16 or bfloat16, not {self.half_precision!r}")
        if self.patches > self.points:
            raise ValueError("there cannot be more patches than points")

    @property
    def field_channels(self) -> int:
        """Channels of the sampled field: the triplane's without the unused leading ones."""
        return self.plane_channels - self.sdf_channels

    @property
    def token_resolution(self) -> int:
        """Side of a plane in transformer tokens."""
        return self.plane_resolution // 4

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> NetworkConfig:
        """Inverse of `to_json`; CheckpointError where the text is not such a configuration."""
        try:
            values = json.loads(text)
            for key in ("branches", "unet_widths", "mask_prompt_widths"):
                values[key] = tuple(values[key])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the file's network configuration is not readable: {error}") from error


PUBLISHED = NetworkConfig(
    name="published",
    points=100_000,
    branches=(FROZEN, LEARNABLE),
    voxel_resolution=32,
    voxel_channels=256,
    plane_resolution=128,
    unet_widths=(32, 64, 128),
    transformer_width=1024,
    transformer_depth=6,
    transformer_heads=8,
    plane_channels=512,
    sdf_channels=64,
    patches=2000,
    patch_neighbors=16,
    decoder_width=256,
    decoder_depth=4,
    decoder_heads=8,
    decoder_mlp_width=2048,
    mask_prompt_widths=(128, 512),
    mask_channels=256,
    mask_prompt_points=None,
    mask_prompt_neighbors=16,
    half_precision="bfloat16",
)

SMALL = NetworkConfig(
    name="small",
    points=16_384,
    branches=(LEARNABLE,),
    voxel_resolution=32,
    voxel_channels=64,
    plane_resolution=128,
    unet_widths=(32, 64, 128),
    transformer_width=256,
    transformer_depth=5,
    transformer_heads=8,
    plane_channels=128,
    sdf_channels=0,
    patches=512,
    patch_neighbors=16,
    decoder_width=192,
    decoder_depth=3,
    decoder_heads=4,
    decoder_mlp_width=768,
    mask_prompt_widths=(32, 96),
    mask_channels=128,
    mask_prompt_points=5120,
    mask_prompt_neighbors=8,
    point_attributes=True,
    click_scales=6,
    mask_scores=True,
    normal_distance=0.15,
    size_prompt=True,
    score_context=True,
    score_regions=True,
    patch_layers=5,
    patch_regions=32,
    region_prompt=64,
    region_close_ups=True,
    upright=True,
)

PRESETS = {preset.name: preset for preset in (PUBLISHED, SMALL)}
