"""The four networks of the base, in diffusers' and transformers' stock classes."""

from __future__ import annotations

from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection


def autoencoder() -> AutoencoderTiny:
    """TAESD layout: 64 channels, factor 8, 4 latents."""
    return AutoencoderTiny(scaling_factor=1.0)


def text_encoder(cfg, tokenizer) -> CLIPTextModelWithProjection:
    """Causal CLIP text transformer; the projection is square, as ComfyUI's class expects."""
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=cfg.width,
            intermediate_size=cfg.intermediate,
            projection_dim=cfg.width,
            num_hidden_layers=cfg.layers,
            num_attention_heads=cfg.heads,
            max_position_embeddings=77,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    )


def image_encoder(cfg) -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=cfg.width,
            intermediate_size=cfg.intermediate,
            projection_dim=cfg.width,
            num_hidden_layers=cfg.layers,
            num_attention_heads=cfg.heads,
            image_size=cfg.image_size,
            patch_size=cfg.patch,
            hidden_act="quick_gelu",
        )
    )


def unet(cfg, width: int, sample_size: int) -> UNet2DConditionModel:
    """SD1 layout with three levels, one ResBlock a level, attention in the two lower levels.

    `attention_head_dim` is diffusers' historical name for the number of heads.
    """
    return UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=tuple(cfg.channels),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=cfg.heads,
        use_linear_projection=False,
    )


def scheduler() -> DDIMScheduler:
    """SD1's noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )
