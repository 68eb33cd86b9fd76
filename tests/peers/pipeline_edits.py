"""Image to image and inpainting of diffusers 0.42.1 for pipelines.py: pictures are given, noise is drawn as they draw it.

Imported by pipelines.py, not run.
"""
import diffusers
import torch

IMAGE_TO_IMAGE = {"StableDiffusionPipeline": "StableDiffusionImg2ImgPipeline",
                  "StableDiffusionXLPipeline": "StableDiffusionXLImg2ImgPipeline",
                  "StableDiffusion3Pipeline": "StableDiffusion3Img2ImgPipeline", "FluxPipeline": "FluxImg2ImgPipeline"}
INPAINTING = {"StableDiffusionPipeline": "StableDiffusionInpaintPipeline",
              "StableDiffusionXLPipeline": "StableDiffusionXLInpaintPipeline"}
CONTROL = {"StableDiffusionPipeline": "StableDiffusionControlNetPipeline",
           "StableDiffusionXLPipeline": "StableDiffusionXLControlNetPipeline"}


def noise_like(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def as_class(pipe, table, **more):
    name = type(pipe).__name__
    if name == "StableDiffusionPipeline":
        more["requires_safety_checker"] = False
    if name == "StableDiffusionXLPipeline":
        more["add_watermarker"] = False
    made = getattr(diffusers, table[name])(**pipe.components, **more)
    made.set_progress_bar_config(disable=True)
    return made


def image_to_image(pipe, ask, common, width, height):
    """The picture is given as latents."""
    made = as_class(pipe, IMAGE_TO_IMAGE)
    given = {"latents_of_image": noise_like((1, 4, height // 2, width // 2), 31),
             "latents": noise_like((1, 4, height // 2, width // 2), 41)}
    if "Flux" in type(pipe).__name__ or "Diffusion3" in type(pipe).__name__:
        common = common | {"width": width, "height": height}
    result = made(image=given["latents_of_image"], strength=ask["strength"],
                  generator=torch.Generator().manual_seed(41), **common).images
    if isinstance(pipe, diffusers.FluxPipeline):
        result = diffusers.FluxPipeline._unpack_latents(result, height, width, pipe.vae_scale_factor)
    return result, given


class Mean:
    def __init__(self, mean):
        self.latents = mean


def inpainting(pipe, ask, common, width, height):
    """Pictures go through the encoder, of which the mean is taken in place of a draw."""
    made = as_class(pipe, INPAINTING)
    picture = noise_like((1, 3, height, width), 32).clamp(-2, 2) / 2
    mask = torch.zeros(1, 1, height, width)
    mask[:, :, :, width // 2:] = 1  # 1 is made anew, there as here
    original = diffusers.AutoencoderKL.encode
    diffusers.AutoencoderKL.encode = lambda self, x, return_dict=True: Mean(original(self, x).latent_dist.mean)
    given = {"image_pixels": picture, "mask": mask, "latents": noise_like((1, 4, height // 2, width // 2), 42)}
    try:
        # Latents that are given are taken for a start from noise alone, whatever the strength: it draws them.
        result = made(image=picture, mask_image=mask, height=height, width=width, strength=ask.get("strength", 1.0),
                      generator=torch.Generator().manual_seed(42), **common)
    finally:
        diffusers.AutoencoderKL.encode = original
    return result.images, given


def call_editing(pipe, ask, common, width, height):
    return (inpainting if ask.get("mask") else image_to_image)(pipe, ask, common, width, height)
