"""The licences of the weights in the table, and of the code that loads them.

Code, weights and outputs apart, as each is bound by other words. Data only; no legal advice: the clauses are there to be
read. "flux" is black-forest-labs/flux at 802fb47, "sam3" facebookresearch/sam3 at 7778a7a.
"""

from __future__ import annotations

from .records import HUB, RELEASES, Code, Licence

FLUX_DEV = Licence(
    "FLUX.1 [dev] Non-Commercial License v1.1.1",
    commercial="no",
    trains="no",
    weights="2(b) for non-commercial purposes only, which 1(c) training models for commercial use is not",
    outputs="2(d) they must not train, fine-tune or distil a model that competes with FLUX.1 [dev] or Kontext [dev]",
    source=f"{RELEASES}/black-forest-labs/flux/blob/802fb4713906133fcbd0d8dc5351620ca4773036/model_licenses/LICENSE-FLUX1-dev",
)
APACHE = Licence(
    "Apache-2.0",
    commercial="yes",
    trains="yes",
    weights="2 any use is granted; 4 who passes them on keeps licence and notices",
    outputs="nothing is said of them",
    source="https://www.apache.org/licenses/LICENSE-2.0",
)
OPENRAIL = Licence(
    "CreativeML Open RAIL++-M",
    commercial="yes",
    trains="yes",
    weights="4 and 5 any use but those of attachment A, to which whoever gets them is bound, too",
    outputs="6 no rights are claimed, and their uses must keep to the licence; 1(e) a model that is trained on them to "
    "perform like this one is a derivative, bound by 4 and 5",
    source=f"{HUB}/stabilityai/stable-diffusion-xl-base-1.0/blob/462165984030d82259a11f4367a4eed129e94a7b/LICENSE.md",
)
AGPL = Licence(
    "AGPL-3.0",
    commercial="yes",
    trains="yes",
    weights="2 any use is granted; 4 to 6 who passes them on does so under the AGPL, with source",
    outputs="2 they are covered only where they are themselves a copy of the program",
    source=f"{RELEASES}/ultralytics/ultralytics/blob/main/LICENSE",
)
MIT = Licence(
    "MIT",
    commercial="yes",
    trains="yes",
    weights="any use is granted; who passes them on keeps the notice",
    outputs="nothing is said of them",
    source="https://opensource.org/license/mit",
)
SAM = Licence(
    "SAM License (Meta)",
    commercial="yes",
    trains="yes",
    weights="1(a) use, copies and derivatives are granted; 1(b) who passes them on does so under this licence, published "
    "research names them, and there is no use for arms, war, espionage or nuclear ends, nor to reverse-engineer them",
    outputs="3 and 5(b) name them, for no warranty and for lawsuits against Meta; nothing is asked of them",
    source=f"{RELEASES}/facebookresearch/sam3/blob/7778a7aa0cd4b596b232b35490aa9b806dde8fde/LICENSE",
)
QWEN_RESEARCH = Licence(
    "Qwen Research License",
    commercial="no",
    trains="unclear",
    weights="2 for non-commercial purposes only, which are research and evaluation",
    outputs="4 a model that is trained on them and passed on says 'Built with Qwen'; whether 2 binds it is not said",
    source=f"{HUB}/Qwen/Qwen2.5-VL-3B-Instruct/blob/66285546d2b821cf421d4f5eb2576359d3770cd3/LICENSE",
)

COMFYUI = Code(
    "ComfyUI", "GPL-3.0", "2 running it is unrestricted, and what it puts out is covered only where it is itself a copy"
)
TRANSFORMERS = Code("transformers", "Apache-2.0", "2 any use is granted")
ULTRALYTICS = Code(
    "ultralytics",
    "AGPL-3.0",
    "2 running it is unrestricted; 13 who lets others use it over a network offers them the source of the whole program",
)
"""Imported when a YOLO-World node runs, and only then."""
