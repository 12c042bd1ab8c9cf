"""The rows of the model table: licences, weights, and which workflow names which. Data only; `table` reads them.

A fact stands here only where it was found published; else it is None. `facts` says where: "templates" are
comfyui-workflow-templates-json 0.1.27, "SwarmUI" its src/Text2Image/CommonModels.cs and BuiltinExtensions at 062407c,
"flux" black-forest-labs/flux at 802fb47, "LFS" the hub's record of the file as public download lists repeat it.
"""

from __future__ import annotations

from .records import HUB, RELEASES, Licence, Part, Route, Weights

FLUX_DEV = Licence(
    "FLUX.1 [dev] Non-Commercial License v1.1.1",
    commercial="no",
    trains="no",
    clause="2(b) the model is for non-commercial purposes only, which 1(c) training models for commercial use is not; 2(d) "
    "outputs must not train, fine-tune or distil a model that competes with FLUX.1 [dev] or Kontext [dev]",
    source=f"{RELEASES}/black-forest-labs/flux/blob/802fb4713906133fcbd0d8dc5351620ca4773036/model_licenses/LICENSE-FLUX1-dev",
)
APACHE = Licence(
    "Apache-2.0",
    commercial="yes",
    trains="yes",
    clause="2 any use is granted; nothing is said of outputs",
    source="https://www.apache.org/licenses/LICENSE-2.0",
)
OPENRAIL = Licence(
    "CreativeML Open RAIL++-M",
    commercial="yes",
    trains="yes",
    clause="6 no rights are claimed in outputs, whose uses must keep to the licence; 1(e) a model that is trained on them to "
    "perform like this one is a derivative, which 4 and 5 bind to the uses that attachment A leaves",
    source=f"{HUB}/stabilityai/stable-diffusion-xl-base-1.0/blob/462165984030d82259a11f4367a4eed129e94a7b/LICENSE.md",
)
AGPL = Licence(
    "AGPL-3.0",
    commercial="yes",
    trains="yes",
    clause="2 what a program puts out is covered only where it is itself a copy of it; 13 who offers the program over a "
    "network offers its source",
    source=f"{RELEASES}/ultralytics/ultralytics/blob/main/LICENSE",
)
MIT = Licence(
    "MIT",
    commercial="yes",
    trains="yes",
    clause="any use is granted; nothing is said of outputs",
    source=f"{RELEASES}/openai/CLIP/blob/main/LICENSE",
)

_TOKENS = (Part("merges.txt"), Part("special_tokens_map.json"), Part("tokenizer.json"), Part("tokenizer_config.json"))
_CLIP = (Part("config.json"), Part("preprocessor_config.json"), *_TOKENS, Part("vocab.json"))


TABLE: tuple[Weights, ...] = (
    Weights(
        "flux1-fill-dev.safetensors", "diffusion_models", "diffusion model", FLUX_DEV, "Comfy-Org/flux1-dev",
        (Part("split_files/diffusion_models/flux1-fill-dev.safetensors", 23_804_922_408,
              "03e289f530df51d014f48e675a9ffa2141bc003259bf5f25d75b957e920a41ca"),),
        "0f6b956e6e2e041fb73d079b72ec0e761506f601",
        "repository: templates; sha256: flux docs/fill.md; size, revision: LFS",
    ),
    Weights(
        "flux1-dev-kontext_fp8_scaled.safetensors", "diffusion_models", "diffusion model", FLUX_DEV,
        "Comfy-Org/flux1-kontext-dev_ComfyUI",
        (Part("split_files/diffusion_models/flux1-dev-kontext_fp8_scaled.safetensors", 11_904_640_136,
              "630ba795ec64283b4230ea23cf79406c2c68b7c578229ed139f30043eadb30a2"),),
        facts="repository: templates; size, sha256: LFS; no revision found",
    ),
    Weights(
        "flux1-kontext-dev.safetensors", "diffusion_models", "diffusion model", FLUX_DEV,
        "black-forest-labs/FLUX.1-Kontext-dev",
        (Part("flux1-kontext-dev.safetensors", 23_802_947_360,
              "843a26dc765d3105dba081c30bce7b14c65b0988f9e8d14e9fbc8856a6deebd5"),),
        "24e9dedc4ef646698dc8eb4e18ae2cec3c9fea0d",
        "sha256: flux docs/image-editing.md; size, revision: LFS",
        gated=True,
    ),
    Weights(
        "flux1-redux-dev.safetensors", "style_models", "style model", FLUX_DEV, "Comfy-Org/Flux1-Redux-Dev",
        (Part("flux1-redux-dev.safetensors", 129_063_232,
              "a1b3bdcb4bdc58ce04874b9ca776d61fc3e914bb6beab41efb63e4e2694dca45"),),
        facts="repository: templates; sha256: flux docs/image-variation.md; size: LFS; no revision found",
    ),
    Weights(
        "sigclip_vision_patch14_384.safetensors", "clip_vision", "image encoder", APACHE,
        "Comfy-Org/sigclip_vision_384",
        (Part("sigclip_vision_patch14_384.safetensors", 856_505_640,
              "1fee501deabac72f0ed17610307d7131e3e9d1e838d0363aa3c2b97a6e03fb33"),),
        facts="repository: templates; sha256: SwarmUI; size: LFS; licence: google/siglip-so400m-patch14-384, whose weights "
        "it is; no revision found",
    ),
    Weights(
        "clip_l.safetensors", "text_encoders", "text encoder", APACHE, "comfyanonymous/flux_text_encoders",
        (Part("clip_l.safetensors", 246_144_152, "660c6f5b1abae9dc498ac2d21e1347d2abdb0cf6c0c0c8576cd796491d9a6cdd"),),
        "6af2a98e3f615bdfa612fbd85da93d1ed5f69ef5",
        "repository: templates; size, sha256, revision: LFS; licence: the repository's card",
    ),
    Weights(
        "t5xxl_fp16.safetensors", "text_encoders", "text encoder", APACHE, "comfyanonymous/flux_text_encoders",
        (Part("t5xxl_fp16.safetensors", 9_787_841_024,
              "6e480b09fae049a72d2a8c5fbccb8d3e92febeb233bbe9dfe7256958a9167635"),),
        "6af2a98e3f615bdfa612fbd85da93d1ed5f69ef5",
        "repository: templates; size, sha256, revision: LFS; licence: the repository's card",
    ),
    Weights(
        "t5xxl_fp8_e4m3fn_scaled.safetensors", "text_encoders", "text encoder", APACHE,
        "comfyanonymous/flux_text_encoders",
        (Part("t5xxl_fp8_e4m3fn_scaled.safetensors", 5_157_348_688,
              "a498f0485dc9536735258018417c3fd7758dc3bccc0a645feaa472b34955557a"),),
        "6af2a98e3f615bdfa612fbd85da93d1ed5f69ef5",
        "repository, sha256: templates (hidream_e1_full); size, revision: LFS; licence: the repository's card",
    ),
    Weights(
        "ae.safetensors", "vae", "VAE", APACHE, "Comfy-Org/Lumina_Image_2.0_Repackaged",
        (Part("split_files/vae/ae.safetensors", 335_304_388,
              "afc8e28272cd15db3919bacdb6918ce9c1ed22e96cb12c4d5ed0fba823529e38"),),
        "22e393d707f2d13e736b1a461c958644258cd9d9",
        "repository, sha256: templates (hidream_e1_full); size, revision: LFS; licence: flux README.md, of the autoencoder",
    ),
    Weights(
        "sd_xl_base_1.0.safetensors", "checkpoints", "checkpoint", OPENRAIL, "stabilityai/stable-diffusion-xl-base-1.0",
        (Part("sd_xl_base_1.0.safetensors", 6_938_078_334,
              "31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b"),),
        "462165984030d82259a11f4367a4eed129e94a7b",
        "repository: templates; sha256: SwarmUI; size, revision: LFS",
    ),
    Weights(
        "controlnet-canny-sdxl-1.0.safetensors", "controlnet", "ControlNet", OPENRAIL,
        "diffusers/controlnet-canny-sdxl-1.0",
        (Part("diffusion_pytorch_model.fp16.safetensors", 2_502_139_136,
              "b2e7d3921058a442cc80430d1ec8847f42599c705e2451c95e77cf4dcf8d6c25"),),
        "eb115a19a10d14909256db740ed109532ab1483c",
        "size, sha256, revision: LFS; licence: the repository's card",
    ),
    Weights(
        "qwen_image_edit_fp8_e4m3fn.safetensors", "diffusion_models", "diffusion model", APACHE,
        "Comfy-Org/Qwen-Image-Edit_ComfyUI",
        (Part("split_files/diffusion_models/qwen_image_edit_fp8_e4m3fn.safetensors", 20_430_635_136,
              "393c6743d1de2e9031b5197027b36116f2096958ccc0223526d34e1860266021"),),
        "7d41107b653d3039be20972fb82398b01b3213eb",
        "repository: templates; size, sha256, revision: LFS; licence: Qwen/Qwen-Image-Edit's card",
    ),
    Weights(
        "qwen_image_edit_2509_fp8_e4m3fn.safetensors", "diffusion_models", "diffusion model", APACHE,
        "Comfy-Org/Qwen-Image-Edit_ComfyUI",
        (Part("split_files/diffusion_models/qwen_image_edit_2509_fp8_e4m3fn.safetensors", 20_430_698_424,
              "318568f61951ab9da21100c7b896e3c1da67f0d2efad6421545e022cfaa2b2b4"),),
        facts="repository: templates; size, sha256: LFS; licence: Qwen/Qwen-Image-Edit-2509's card; no revision found",
    ),
    Weights(
        "qwen_2.5_vl_7b_fp8_scaled.safetensors", "text_encoders", "text encoder", APACHE,
        "Comfy-Org/Qwen-Image_ComfyUI",
        (Part("split_files/text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors", 9_384_670_680,
              "cb5636d852a0ea6a9075ab1bef496c0db7aef13c02350571e388aea959c5c0b4"),),
        "1f12b17be14c89b026c51a91d67c32f84bb047bc",
        "repository: templates; size, sha256, revision: LFS; licence: Qwen/Qwen2.5-VL-7B-Instruct's card",
    ),
    Weights(
        "qwen_image_vae.safetensors", "vae", "VAE", APACHE, "Comfy-Org/Qwen-Image_ComfyUI",
        (Part("split_files/vae/qwen_image_vae.safetensors", 253_806_246,
              "a70580f0213e67967ee9c95f05bb400e8fb08307e017a924bf3441223e023d1f"),),
        "1f12b17be14c89b026c51a91d67c32f84bb047bc",
        "repository: templates; sha256: SwarmUI; size, revision: LFS; licence: Qwen/Qwen-Image's card",
    ),
    Weights(
        "yolov8x-worldv2.pt", "yolo_world", "detector", AGPL, "ultralytics/assets", (Part("yolov8x-worldv2.pt"),),
        "v8.4.0",
        "name, repository and release: ultralytics' own downloader (utils/downloads.py); neither size nor sha256 found",
        release=True,
    ),
    Weights(
        "grounding-dino-tiny", "grounding", "detector", APACHE, "IDEA-Research/grounding-dino-tiny",
        (Part("config.json"), Part("model.safetensors", 689_359_096,
              "1a2412ef99bd74bcd3c2a246fa1e48581f8889a1300c9051974741314fc042f3"),
         Part("preprocessor_config.json"), Part("special_tokens_map.json"), Part("tokenizer.json"),
         Part("tokenizer_config.json"), Part("vocab.txt")),
        "a2bb814dd30d776dcf7e30523b00659f4f141c71",
        "size, sha256, revision: LFS; licence: the repository's card",
        hub_format=True,
    ),
    Weights(
        "sam2.1-hiera-large", "sam2", "segmenter", APACHE, "facebook/sam2.1-hiera-large",
        (Part("config.json", None, "00446988cf4d617118d2d347eabe2c46aebed744628facdd540508be30b69ec3"),
         Part("model.safetensors", 897_897_416, "dc407dce21301fd94abb395c5099b4f2c455fdc8a8f261ac3d0ea6d4cd197230")),
        "665f8e2ad61cf5f53d65644ff27c8ee525124610",
        "size, sha256, revision: LFS; licence: the repository's card",
        hub_format=True,
    ),
    Weights(
        "clip-vit-base-patch32", "text_encoders", "text encoder", MIT, "openai/clip-vit-base-patch32",
        (*_CLIP, Part("model.safetensors", 605_157_884,
                      "99d28a652e6ec46629ab7047a0ac82c69b1fe11e0ce672c43af65d3a9a3fc05d")),
        "c237dc49a33fc61debc9276459120b7eac67e7ef",
        "revision: the hub's own conversion to safetensors; size, sha256: LFS; licence: openai/CLIP, as the hub's card names "
        "none",
        hub_format=True,
    ),
    Weights(
        "clip-vit-large-patch14", "text_encoders", "scorer", MIT, "openai/clip-vit-large-patch14",
        (*_CLIP, Part("model.safetensors", 1_710_540_580,
                      "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb")),
        "32bd64288804d66eefd0ccbe215aa642df71cc41",
        "size, sha256, revision: LFS; licence: openai/CLIP, as the hub's card names none",
        hub_format=True,
    ),
    Weights(
        "Qwen2.5-VL-7B-Instruct", "LLM", "judge", APACHE, "Qwen/Qwen2.5-VL-7B-Instruct",
        (Part("chat_template.json"), Part("config.json"), Part("generation_config.json"), Part("merges.txt"),
         Part("model.safetensors.index.json"),
         Part("model-00001-of-00005.safetensors", 3_900_233_256,
              "e97b877e47fde53a6c6e77aafb36e58e91ee9d95c4a3eeac6f1b5c0e6a1c986e"),
         Part("model-00002-of-00005.safetensors", 3_864_726_320,
              "a9a300a43b4724eee2abe7c18ceb26768d0ab011eb0cad19d9bfd2476a24d024"),
         Part("model-00003-of-00005.safetensors", 3_864_726_424,
              "111223d173e00bbee81cba1216fad28668df3476706b7fd26f4d5b50f8b3a507"),
         Part("model-00004-of-00005.safetensors", 3_864_733_680,
              "ef47f634fa57d46ee134edcc09f34085a47da1e16c12a2abe0d67118be6d72ed"),
         Part("model-00005-of-00005.safetensors", 1_089_994_880,
              "0c859795ad3a627a9b95bcb762e059d5b768a4a36fdd4affeff269d93fdecc67"),
         Part("preprocessor_config.json"), Part("tokenizer.json"), Part("tokenizer_config.json"), Part("vocab.json")),
        "cc594898137f460bfe9f0759e9844b3ce807cfb5",
        "sizes, sha256, revision: LFS; licence: the repository's card",
        hub_format=True,
    ),
)  # fmt: skip

_BY_NAME = {one.name: one for one in TABLE}


def _of(*names: str) -> tuple[Weights, ...]:
    return tuple(_BY_NAME[name] for name in names)


_SEGMENT = _of("sam2.1-hiera-large")
_FLUX_TEXT = _of("clip_l.safetensors", "t5xxl_fp16.safetensors", "ae.safetensors")
_FILL = _SEGMENT + _of("flux1-fill-dev.safetensors") + _FLUX_TEXT
_REDUX = _FILL + _of("flux1-redux-dev.safetensors", "sigclip_vision_patch14_384.safetensors")
_KONTEXT = _of("flux1-dev-kontext_fp8_scaled.safetensors") + _FLUX_TEXT
_SDXL = _of("sd_xl_base_1.0.safetensors", "controlnet-canny-sdxl-1.0.safetensors")
_QWEN = _of(
    "qwen_image_edit_fp8_e4m3fn.safetensors", "qwen_2.5_vl_7b_fp8_scaled.safetensors", "qwen_image_vae.safetensors"
)
_REGIONS = _of("yolov8x-worldv2.pt", "clip-vit-base-patch32", "sam2.1-hiera-large", "clip-vit-large-patch14")

ROUTES: tuple[Route, ...] = (
    Route("annotate", "annotate", _REGIONS),
    Route("add", "add", _FILL),
    Route("add", "add-classical"),
    Route("remove", "remove", _FILL),
    Route("remove", "remove-classical"),
    Route("replace", "replace", _FILL),
    Route("replace", "replace-classical"),
    Route("alter", "alter", _SEGMENT + _SDXL),
    Route("alter", "alter-classical"),
    Route("background", "background", _FILL),
    Route("background", "background-classical"),
    Route("motion", "motion"),
    Route("motion", "motion-classical"),
    Route("style", "style", _SDXL),
    Route("style", "style-classical"),
    Route("extract", "extract", _SEGMENT),
    Route("extract", "extract-classical"),
    Route("visual", "visual", _REDUX),
    Route("visual", "visual-classical"),
    Route("hybrid", "hybrid", _FILL),
    Route("hybrid", "hybrid-classical"),
    Route("instruct", "instruct", _KONTEXT),
    Route("instruct", "instruct-qwen", _QWEN),
)
"""Ways to tasks and stages, by the files in `workflows/`: a test compares them with what those name."""

IN_WORDS = ("add", "remove", "replace", "alter", "background", "style", "extract", "hybrid")
"""Tasks that an end-to-end editor does from the instruction alone, without a mask or a second image. Ours."""
