"""Vectors and rankings by Amazon's ``invoke``, in the bodies that the models' makers have for them.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/rerank-supported.html
"""

from typing import Any

from ferryman.simulator import lists, rank
from ferryman.simulator.answer import Answer
from ferryman.simulator.ask import Ask, RefusedError, Request, typed, words

COUNT = "x-amzn-bedrock-input-token-count"
MALFORMED = "Malformed input request, please reformat your input and try again."
TITAN = {"inputText", "dimensions", "normalize", "embeddingTypes"}
EMBED = {"texts", "images", "inputs", "input_type", "truncate", "embedding_types"}
NEWER = EMBED | {"max_tokens", "output_dimension"}
RERANK = {"query", "documents", "top_n", "api_version", "max_tokens_per_doc"}


def knows(model: str) -> bool:
    """Whether a model makes vectors, or ranks."""
    return any(name in model for name in ("titan-embed-text", ".embed-", ".rerank-"))


def read(request: Request) -> Ask:
    """A request in the body that the model has."""
    model, body = request.model, request.json()
    if ".rerank-" in model:
        _only(body, RERANK if "amazon." not in model else {"query", "documents", "top_n"})
        if "amazon." not in model and body.get("api_version") != 2:
            raise RefusedError("Malformed input request: #: required key [api_version] not found")
        if any(not isinstance(document, str) for document in body["documents"]):
            raise RefusedError(MALFORMED)
        given: Any = [body["query"], body["documents"]]
    elif "titan" in model:
        _only(body, TITAN)
        given = typed(body, "inputText", str)
        if not given:
            raise RefusedError("Malformed input request: expected minLength: 1, actual: 0")
        if body.get("dimensions", 1024) not in (256, 512, 1024):
            raise RefusedError("Malformed input request: #/dimensions: not a valid enum value")
    else:
        newer = ".embed-v" in model
        _only(body, NEWER if newer else EMBED)
        if body.get("input_type") not in rank.PURPOSES:
            raise RefusedError("Malformed input request: #/input_type: not a valid enum value")
        cuts = ("NONE", "LEFT", "RIGHT") if newer else ("NONE", "START", "END")
        if body.get("truncate", "NONE") not in cuts:
            raise RefusedError("Malformed input request: #/truncate: not a valid enum value")
        for one in body.get("inputs") or ():
            for part in one["content"]:
                if "image_url" in part:
                    part["image_url"] = {"url": typed(part, "image_url", str)}
        given = rank.inputs(body)
    behaviour = request.wishes(model, None)
    count = behaviour.count("prompt", len(words(given)))
    headers = {} if "no-usage" in behaviour else {COUNT: str(count)}
    return Ask(model=model, body=body, behaviour=behaviour, prompt=count, headers=headers)


def _only(body: dict[str, Any], known: set[str]) -> None:
    for name in body:
        if name not in known:
            raise RefusedError(f"Malformed input request: #: extraneous key [{name}] is not "
                               "permitted, please reformat your input and try again.")  # fmt: skip


def reply(ask: Ask, found: Answer, ident: str) -> dict[str, Any]:
    """The vectors, or the ranking."""
    body = ask.body
    if ".rerank-" in ask.model:
        best = rank.ranked(body["query"], body["documents"], body.get("top_n"))
        return {"results": [{"index": i, "relevance_score": score} for i, score in best]}
    if "titan" in ask.model:
        vector = lists.vector(body["inputText"], body.get("dimensions") or lists.DIMENSIONS)
        said = {"embedding": vector, "embeddingsByType": {"float": vector}}
        return said if "no-usage" in ask.behaviour else said | {"inputTextTokenCount": ask.prompt}
    made = rank.embed(ask, found, ident)
    made.pop("meta", None)
    if "embedding_types" not in body:
        made |= {"embeddings": made["embeddings"]["float"], "response_type": "embeddings_floats"}
    return made
