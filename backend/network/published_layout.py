# SPDX-License-Identifier: GPL-3.0-or-later
"""How the published checkpoint's tensor names map to ours."""

from __future__ import annotations

import re

_BRANCHES = {"partfield": "frozen", "partfieldMy": "learnable"}
_BRANCH = r"pc_encoder\.(?P<branch>partfieldMy|partfield)\."
_POINTS = _BRANCH + r"pvcnn\.pc_encoder\."
_LAYER = _BRANCH + r"triplane_transformer\.transformer\.layers\.(\d)\."

# Published name -> ours. `{0}` stands for the pattern's first number, and so on.
_RULES: tuple[tuple[str, str], ...] = (
    # point stem; only the first block of the published encoder list feeds anything
    (_POINTS + r"encoder\.0\.voxel_layers\.0\.", "@stem.positions.voxel_conv1."),
    (_POINTS + r"encoder\.0\.voxel_layers\.3\.", "@stem.positions.voxel_conv2."),
    (_POINTS + r"encoder\.0\.point_features\.layers\.0\.", "@stem.positions.point_conv."),
    (_POINTS + r"add_layer\.0\.voxel_layers\.0\.", "@stem.attributes.voxel_conv1."),
    (_POINTS + r"add_layer\.0\.voxel_layers\.3\.", "@stem.attributes.voxel_conv2."),
    (_POINTS + r"add_layer\.0\.point_features\.layers\.0\.", "@stem.attributes.point_conv."),
    (_POINTS + r"add_conv1\.", "@stem.attribute_injection."),
    # U-Net
    (_BRANCH + r"pvcnn\.unet_encoder\.down_convs\.(\d)\.block\.", "@unet.down.{0}."),
    (_BRANCH + r"pvcnn\.unet_encoder\.up_convs\.(\d)\.norm1\.", "@unet.up_norms.{0}."),
    (_BRANCH + r"pvcnn\.unet_encoder\.up_convs\.(\d)\.block\.", "@unet.up.{0}."),
    (_BRANCH + r"pvcnn\.unet_encoder\.norm_out\.", "@unet.norm_out."),
    (_BRANCH + r"pvcnn\.unet_encoder\.conv_final\.", "@unet.conv_out."),
    # triplane transformer
    (_BRANCH + r"triplane_transformer\.pos_embed", "@transformer.position"),
    (_LAYER + r"self_attn\.in_proj_", "@transformer.blocks.{0}.attention.qkv."),
    (_LAYER + r"self_attn\.out_proj\.", "@transformer.blocks.{0}.attention.out."),
    (_LAYER + r"mlp\.0\.", "@transformer.blocks.{0}.mlp.0."),
    (_LAYER + r"mlp\.3\.", "@transformer.blocks.{0}.mlp.2."),
    (_LAYER + r"norm", "@transformer.blocks.{0}.norm"),
    (_BRANCH + r"triplane_transformer\.transformer\.norm\.", "@transformer.norm."),
    (_BRANCH + r"triplane_transformer\.downsampler\.0\.", "@transformer.conv1."),
    (_BRANCH + r"triplane_transformer\.downsampler\.3\.", "@transformer.conv2."),
    (_BRANCH + r"triplane_transformer\.upsampler\.", "@transformer.upsample."),
    (_BRANCH + r"triplane_transformer\.mlp\.", "@transformer.texel_mlp."),
    # patches and prompts
    (r"pc_encoder\.patch_embed\.patch_encoder\.", "patch_encoder."),
    (r"mask_encoder\.patch_encoder\.", "mask_prompts.patch_encoder."),
    (r"mask_encoder\.no_mask_embed\.weight", "mask_prompts.no_mask_embedding"),
    (r"point_encoder\.pe_layer\.positional_encoding_gaussian_matrix", "point_prompts.positions.frequencies"),
    (r"point_encoder\.point_embeddings\.(\d)\.weight", "point_prompts.sign_embedding[{0}]"),
    (r"prompt_point_mapper\.", "point_prompts.field_mapper."),
    # decoder
    (r"mask_decoder\.transformer\.layers\.(\d)\.", "decoder.blocks.{0}."),
    (r"mask_decoder\.transformer\.final_attn_token_to_image\.", "decoder.final_attention."),
    (r"mask_decoder\.transformer\.norm_final_attn\.", "decoder.final_norm."),
    (r"mask_decoder\.iou_token\.weight", "decoder.iou_token"),
    (r"mask_decoder\.mask_tokens\.weight", "decoder.mask_tokens"),
    (r"mask_decoder\.output_hypernetworks_mlps\.(\d)\.", "decoder.mask_mlps.{0}."),
    (r"mask_decoder\.encoder_mapper\.", "patch_mapper."),
    (r"mask_decoder\.output_upscaling\.0\.", "decoder.point_linear1."),
    (r"mask_decoder\.output_upscaling\.1\.", "decoder.point_norm."),
    (r"mask_decoder\.output_upscaling\.3\.", "decoder.point_linear2."),
    (r"mask_decoder\.iou_prediction_head\.", "decoder.iou_mlp."),
)  # fmt: skip

# Names inside a block, after the rule for its place has been applied.
_INNER: tuple[tuple[str, str], ...] = (
    (r"\.conv_3daware\.", ".cross_plane."),
    (r"\.nin_shortcut\.", ".shortcut."),
    (r"patch_encoder\.conv1\.0\.", "patch_encoder.linear1."),
    (r"patch_encoder\.conv1\.1\.", "patch_encoder.norm1."),
    (r"patch_encoder\.conv1\.3\.", "patch_encoder.linear2."),
    (r"patch_encoder\.conv2\.0\.", "patch_encoder.linear3."),
    (r"patch_encoder\.conv2\.1\.", "patch_encoder.norm2."),
    (r"patch_encoder\.conv2\.3\.", "patch_encoder.linear4."),
    (r"\.self_attn\.", ".self_attention."),
    (r"\.cross_attn_token_to_image\.", ".token_to_patch."),
    (r"\.cross_attn_image_to_token\.", ".patch_to_token."),
    (r"\.mlp\.lin1\.", ".mlp.layers.0."),
    (r"\.mlp\.lin2\.", ".mlp.layers.1."),
    (r"\.([qkv])_proj\.", r".\1."),
    (r"\.out_proj\.", ".out."),
)


def our_name(published: str) -> str | None:
    """Our parameter's name for a published tensor; None for the published tensors that feed nothing.

    `name[i]` means row i of our parameter `name`.
    """
    for pattern, replacement in _RULES:
        match = re.match(pattern, published)
        if match is None:
            continue
        groups = match.groupdict()
        numbers = [text for text in match.groups() if text is not None and text.isdigit()]
        name = replacement.format(*numbers)
        if "branch" in groups:
            name = name.replace("@", f"encoder.branches.{_BRANCHES[groups['branch']]}.", 1)
        name += published[match.end() :]
        for inner, ours in _INNER:
            name = re.sub(inner, ours, name)
        return name
    return None


def is_published_layout(names: set[str]) -> bool:
    """Whether a file's tensor names look like the published checkpoint's."""
    return any(name.startswith(("pc_encoder.", "mask_decoder.")) for name in names)
