"""Images by Google's ``predict`` and Amazon's ``invoke``, and the words for Gemini's media.

https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/imagen-api,
https://docs.aws.amazon.com/nova/latest/userguide/image-gen-req-resp-structure.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-diffusion-3-5-large.html,
https://ai.google.dev/gemini-api/docs/image-generation,
https://ai.google.dev/gemini-api/docs/speech-generation
"""

from typing import Any

from ferryman.simulator.answer import Answer
from ferryman.simulator.ask import Ask, RefusedError, Request, typed, words
from ferryman.simulator.directives import Behaviour
from ferryman.simulator.pictures import PNG

RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
VOICES = {
    "achernar", "achird", "algenib", "algieba", "alnilam", "aoede", "autonoe", "callirrhoe",
    "charon", "despina", "enceladus", "erinome", "fenrir", "gacrux", "iapetus", "kore",
    "laomedeia", "leda", "orus", "puck", "pulcherrima", "rasalgethi", "sadachbia", "sadaltager",
    "schedar", "sulafat", "umbriel", "vindemiatrix", "zephyr", "zubenelgenubi",
}  # fmt: skip


def modes(config: dict[str, Any], behaviour: Behaviour) -> Behaviour:
    """What Gemini's ``responseModalities`` add to the words. Raises :class:`RefusedError`."""
    wanted = {str(mode).upper() for mode in config.get("responseModalities") or []}
    shape = config.get("imageConfig") or {}
    if shape.get("aspectRatio", "1:1") not in RATIOS:
        raise RefusedError("Invalid value at 'generation_config.image_config.aspect_ratio'")
    if shape.get("imageSize", "1K") not in ("1K", "2K", "4K"):
        raise RefusedError("Invalid value at 'generation_config.image_config.image_size'")
    voice = (config.get("speechConfig") or {}).get("voiceConfig", {}).get("prebuiltVoiceConfig", {})
    name = voice.get("voiceName", "Kore")
    if name.lower() not in VOICES:
        raise RefusedError(f"Voice name {name} is not supported.")
    more: dict[str, float] = {}
    if "AUDIO" in wanted:
        more["audio"] = 1
    if "IMAGE" in wanted:
        more["image"] = 1
        if "TEXT" not in wanted:
            more["tokens"] = 0
    return Behaviour(more).over(behaviour)


# --- predict --------------------------------------------------------------------------------------

PARAMETERS = {
    "sampleCount", "aspectRatio", "negativePrompt", "personGeneration", "language", "seed",
    "safetySetting", "addWatermark", "sampleImageSize", "outputOptions", "storageUri",
    "enhancePrompt", "includeRaiReason", "includeSafetyAttributes",
}  # fmt: skip


def read_predict(request: Request) -> Ask:
    """A request for images of Imagen."""
    body = request.json()
    instances = typed(body, "instances", list) or []
    prompt = typed(instances[0], "prompt", str) if instances else ""
    if not prompt:
        raise RefusedError("Text prompt is empty.")
    parameters = typed(body, "parameters", dict) or {}
    for name in parameters:
        if name not in PARAMETERS:
            raise RefusedError(f"Unknown parameter: {name}")
    count = parameters.get("sampleCount", 4)
    if not 1 <= count <= 4:
        raise RefusedError("The number of images must be between 1 and 4.")
    if parameters.get("aspectRatio", "1:1") not in ("1:1", "3:4", "4:3", "9:16", "16:9"):
        raise RefusedError("Aspect ratio is not supported.")
    return Ask(
        model=request.model,
        body=parameters,
        behaviour=request.wishes(request.model, body.get("sim")),
        prompt=len(words(prompt)),
        last=prompt,
        choices=count,
    )


def predict(ask: Ask, found: Answer, _ident: str) -> dict[str, Any]:
    """The images, or why there are none."""
    if "filter" in ask.behaviour:
        reason = "The prompt violates the usage guidelines. Support codes: 58061214"
        return {"predictions": [{"raiFilteredReason": reason}]}
    kind = (ask.body.get("outputOptions") or {}).get("mimeType", "image/png")
    return {"predictions": [{"mimeType": kind, "bytesBase64Encoded": PNG}] * ask.choices}


# --- invoke ---------------------------------------------------------------------------------------


def draws(model: str) -> bool:
    """Whether a model makes images."""
    return any(name in model for name in ("titan-image", "nova-canvas", "stability."))


def read_invoke(request: Request) -> Ask:
    """A request for images, in the body that the model's maker has for it."""
    body = request.json()
    if "stability." in request.model:
        known = {"prompt", "negative_prompt", "aspect_ratio", "seed", "output_format", "mode",
                 "image", "strength"}  # fmt: skip
        prompt, count = typed(body, "prompt", str), 1
    else:
        known = {"taskType", "textToImageParams", "imageGenerationConfig"}
        if body.get("taskType") != "TEXT_IMAGE":
            raise RefusedError("Malformed input request: taskType is not a valid enum value")
        config = body.get("imageGenerationConfig") or {}
        prompt, count = body["textToImageParams"].get("text"), config.get("numberOfImages", 1)
        if config.get("quality", "standard") not in ("standard", "premium"):
            raise RefusedError("Malformed input request: quality is not a valid enum value")
        if any(not 320 <= config.get(side, 1024) <= 4096 for side in ("width", "height")):
            raise RefusedError("Invalid image size.")
    unknown = [name for name in body if name not in known]
    if unknown or not prompt or not 1 <= count <= 5:
        raise RefusedError("Malformed input request, please reformat your input and try again.")
    return Ask(
        model=request.model,
        body=body,
        behaviour=request.wishes(request.model, None),
        last=prompt,
        choices=count,
    )


def invoke(ask: Ask, found: Answer, _ident: str) -> dict[str, Any]:
    """The images."""
    if "stability." in ask.model:
        if "filter" in ask.behaviour:
            return {"finish_reasons": ["Filter reason: prompt"]}
        return {"seeds": [2130420379], "finish_reasons": [None], "images": [PNG]}
    if "filter" in ask.behaviour:
        return {"images": [], "error": "This request has been blocked by our content filters."}
    return {"images": [PNG] * ask.choices, "error": None}
