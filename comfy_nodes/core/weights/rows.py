"""The rows of the model table: facts about the weights that our graphs name. Data only; `table` reads them.

A fact stands here only where it was found published; else it is None. `facts` says where: "templates" are
comfyui-workflow-templates-json 0.1.27, "SwarmUI" its src/Text2Image/CommonModels.cs and BuiltinExtensions at 062407c,
"flux" black-forest-labs/flux at 802fb47, "flux2" black-forest-labs/flux2 at f72e0dc, "LFS" the hub's record of the file
as public download lists repeat it.
"""

from __future__ import annotations

from .licences import AGPL, APACHE, FLUX_DEV, MIT, OPENRAIL, QWEN_RESEARCH, SAM, ULTRALYTICS
from .records import Part, Weights

_TOKENS = (Part("merges.txt"), Part("special_tokens_map.json"), Part("tokenizer.json"), Part("tokenizer_config.json"))
_CLIP = (Part("config.json"), Part("preprocessor_config.json"), *_TOKENS, Part("vocab.json"))

_QWEN_VL = (
    Part("chat_template.json"), Part("config.json"), Part("generation_config.json"), Part("merges.txt"),
    Part("model.safetensors.index.json"), Part("preprocessor_config.json"), Part("tokenizer.json"),
    Part("tokenizer_config.json"), Part("vocab.json"),
)  # fmt: skip


TABLE: tuple[Weights, ...] = (
    Weights(
        "flux-2-klein-4b-fp8.safetensors", "diffusion_models", "diffusion model", APACHE,
        "black-forest-labs/FLUX.2-klein-4b-fp8",
        (Part("flux-2-klein-4b-fp8.safetensors", 4_070_624_520,
              "97ed34fe0567e436200f2faee3939b88f2b5d99f8af2a4dc16532c4245c0ccb6"),),
        "5b4408e59397a4a37ccb46afe426d8ed86379441",
        "repository: templates (image_flux2_klein_image_edit_4b_distilled); size, sha256, revision: LFS; licence: flux2 "
        "README.md, of the 4B models",
    ),
    Weights(
        "qwen_3_4b.safetensors", "text_encoders", "text encoder", APACHE, "Comfy-Org/z_image_turbo",
        (Part("split_files/text_encoders/qwen_3_4b.safetensors", 8_044_982_048,
              "6c671498573ac2f7a5501502ccce8d2b08ea6ca2f661c458e708f36b36edfc5a"),),
        "2f862278568d3f0a83167a16e5f11094da6dee72",
        "repository: templates (image_flux2_klein_image_edit_4b_distilled); size, sha256, revision: LFS; licence: "
        "Qwen/Qwen3-4B's card",
    ),
    Weights(
        "flux2-vae.safetensors", "vae", "VAE", APACHE, "Comfy-Org/flux2-dev",
        (Part("split_files/vae/flux2-vae.safetensors", 336_213_556,
              "d64f3a68e1cc4f9f4e29b6e0da38a0204fe9a49f2d4053f0ec1fa1ca02f9c4b5"),),
        "03d6521e6f6a47396b3f951cbea50f7e6c2f482e",
        "repository: templates (image_flux2_klein_image_edit_4b_distilled); size, sha256, revision: LFS; licence: flux2 "
        "README.md, of the autoencoder",
    ),
    Weights(
        "z_image_turbo_bf16.safetensors", "diffusion_models", "diffusion model", APACHE, "Comfy-Org/z_image_turbo",
        (Part("split_files/diffusion_models/z_image_turbo_bf16.safetensors", 12_309_866_400,
              "2407613050b809ffdff18a4ac99af83ea6b95443ecebdf80e064a79c825574a6"),),
        "08d04455279082882deaabc8d0d09fc914c071e1",
        "repository: blueprint Text to Image (Z-Image-Turbo); size, sha256, revision: LFS; licence: "
        "Tongyi-MAI/Z-Image-Turbo's card",
    ),
    Weights(
        "qwen_image_edit_2511_fp8mixed.safetensors", "diffusion_models", "diffusion model", APACHE,
        "Comfy-Org/Qwen-Image-Edit_ComfyUI",
        (Part("split_files/diffusion_models/qwen_image_edit_2511_fp8mixed.safetensors", 20_533_762_817,
              "c9fdc158e46d3b61ef75f21ae866ca2fe808bf4a53643120d1c1e87c19280a4e"),),
        "4c7c4ea236326cbae56d403d22a03c6cd86ad9a0",
        "repository: templates; size, sha256, revision: LFS; licence: Qwen/Qwen-Image-Edit-2511's card",
    ),
    Weights(
        "Qwen-Image-Edit-2511-Lightning-4steps-V1.0-bf16.safetensors", "loras", "LoRA", APACHE,
        "lightx2v/Qwen-Image-Edit-2511-Lightning",
        (Part("Qwen-Image-Edit-2511-Lightning-4steps-V1.0-bf16.safetensors", 849_608_296,
              "22226e8d05d354bb356627d428809f5afd7819399b077238a2b70a82883a904f"),),
        "d74eba145674fd7e31b949324e148e21e7118abd",
        "repository: templates; size, sha256, revision: LFS; licence: the repository's card",
    ),
    Weights(
        "longcat_image_edit_bf16.safetensors", "diffusion_models", "diffusion model", APACHE,
        "TalmajM/LongCat-Image-Edit_ComfyUI_repackaged",
        (Part("split_files/diffusion_models/longcat_image_edit_bf16.safetensors"),),
        facts="repository: templates; licence: meituan-longcat/LongCat-Image-Edit's card; no revision, size or sha256 found",
    ),
    Weights(
        "sam3.1_multiplex_fp16.safetensors", "checkpoints", "segmenter", SAM, "Comfy-Org/sam3.1",
        (Part("checkpoints/sam3.1_multiplex_fp16.safetensors", 1_745_546_848,
              "9ba99c92703c2e8b4f47de2d34a539bb8e18923049e238b780d70dbe6368eb03"),),
        "7bb8374780a725b4353ed31f3a9395c9742b5621",
        "repository: blueprint Image Segmentation (SAM3); size, sha256, revision: LFS; licence: facebookresearch/sam3",
    ),
    Weights(
        "birefnet.safetensors", "background_removal", "segmenter", MIT, "Comfy-Org/BiRefNet",
        (Part("background_removal/birefnet.safetensors", 444_473_596,
              "9ab37426bf4de0567af6b5d21b16151357149139362e6e8992021b8ce356a154"),),
        "35767b272f2846752a3aee1259abdd4586f735c8",
        "repository: blueprint Remove Background (BiRefNet); size, sha256, revision: LFS; licence: ZhengPeng7/BiRefNet",
    ),
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
        code=ULTRALYTICS,
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
    Weights(
        "Qwen2.5-VL-3B-Instruct", "LLM", "judge", QWEN_RESEARCH, "Qwen/Qwen2.5-VL-3B-Instruct",
        (*_QWEN_VL, Part("model-00001-of-00002.safetensors"), Part("model-00002-of-00002.safetensors")),
        "66285546d2b821cf421d4f5eb2576359d3770cd3",
        "revision: LFS; licence: the repository's LICENSE; neither size nor sha256 found",
        hub_format=True,
    ),
    Weights(
        "Qwen3-VL-4B-Instruct", "LLM", "judge", APACHE, "Qwen/Qwen3-VL-4B-Instruct",
        (*_QWEN_VL, Part("model-00001-of-00002.safetensors"), Part("model-00002-of-00002.safetensors")),
        "ebb281ec70b05090aa6165b016eac8ec08e71b17",
        "revision: LFS; licence: the repository's card; neither size nor sha256 found",
        hub_format=True,
    ),
    Weights(
        "Qwen3-VL-8B-Instruct", "LLM", "judge", APACHE, "Qwen/Qwen3-VL-8B-Instruct",
        (*_QWEN_VL,
         Part("model-00001-of-00004.safetensors", None,
              "d5d0aef0eb170fc7453a296c43c0849a56f510555d3588e4fd662bb35490aefa"),
         Part("model-00002-of-00004.safetensors", None,
              "8be88fb5501e4d5719a6d4cc212e6a13480330e74f3e8c77daa1a68f199106b5"),
         Part("model-00003-of-00004.safetensors", None,
              "83de00eafe6e0d57ccd009dbcf71c9974d74df2f016c27afb7e95aafd16b2192"),
         Part("model-00004-of-00004.safetensors", None,
              "0a88b98e9f96270973f567e6a2c103ede6ccdf915ca3075e21c755604d0377a5")),
        "0c351dd01ed87e9c1b53cbc748cba10e6187ff3b",
        "revision, sha256: LFS; licence: the repository's card; no size found",
        hub_format=True,
    ),
    Weights(
        "qwen3vl_4b_fp8_scaled.safetensors", "text_encoders", "judge", APACHE, "Comfy-Org/Qwen3-VL",
        (Part("text_encoders/qwen3vl_4b_fp8_scaled.safetensors"),),
        facts="repository: templates; licence: Qwen/Qwen3-VL-4B-Instruct's card; no revision, size or sha256 found",
    ),
    Weights(
        "qwen3vl_8b_fp8_scaled.safetensors", "text_encoders", "judge", APACHE, "Comfy-Org/Qwen3-VL",
        (Part("text_encoders/qwen3vl_8b_fp8_scaled.safetensors"),),
        facts="repository: templates; licence: Qwen/Qwen3-VL-8B-Instruct's card; no revision, size or sha256 found",
    ),
    Weights(
        "dinov2-base", "clip_vision", "image encoder", APACHE, "facebook/dinov2-base",
        (Part("config.json", 548, "f7ff4cfa73d2f70647dbf6950541ad25d73082d54c2e7e9bded160c7656b2a70"),
         Part("model.safetensors", 346_345_912, "d73036b56966966d07975d696bde331762f37297e2f095de8cea0040c3aa0841"),
         Part("preprocessor_config.json", 436, "14e780d86fa1861f8751f868d7f45425b5feb55c38ca26f152ca5097ab30f828")),
        "f9e44c814b77203eaa57a6bdbbd535f21ede1415",
        "sizes, sha256, revision: LFS; licence: the repository's card",
        hub_format=True,
    ),
    Weights(
        "mediapipe_face_fp32.safetensors", "detection", "face detector", APACHE, "Comfy-Org/mediapipe",
        (Part("detection/mediapipe_face_fp32.safetensors", 5_423_900,
              "a98c4806081d40eba35102a0f6dc0000c2e1388b72cf24e691703d0605bd888a"),),
        facts="repository: blueprint Image Face Detection (Mediapipe); size, sha256: LFS; licence: google-ai-edge/mediapipe, "
        "whose weights it is; no revision found",
    ),
)  # fmt: skip
