"""A request of `/v1/embeddings` and its answer, in the form of OpenAI's API.

    {"input": "a passage"}                                              a document
    {"input": ["a question"], "side": "query", "task": "boolq"}         queries, behind the task's prompt
    {"input": ["a question"], "model": "embedding-foundry:boolq"}       the same, for clients that send only a model

What is no text, or names what the model does not have, is refused with one line (status 400).
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException

from components.base.short_lines import describe_exception
from components.statistics.outputs import convert
from components.tracking.embedder import prompt_of, request_error, tasks_of, texts_of

FIELDS = ("input", "model", "side", "task", "dimensions", "encoding_format", "user")
MOST_TEXTS = 2048
MOST_SHOWN = 400  # characters of an error


@dataclass(frozen=True)
class Asked:
    """A checked request: texts behind the prompt of this name; empty: documents."""

    texts: list[str]
    prompt: str
    dimensions: int
    base64: bool


def read_request(body: bytes, name: str, prompts: Mapping[str, str | None], dimension: int) -> Asked:
    """Check a request to the model `name`.

    Raises:
        MlflowException: it is malformed or asks for what there is not; one line that names the place.
    """
    given = _object(body)
    unknown = sorted(set(given) - set(FIELDS))
    if unknown:
        raise request_error(f"{unknown[0]}: unknown; there are {', '.join(FIELDS)}")
    params = {key: _string(given, key) for key in ("side", "task") if given.get(key) is not None}
    params |= _task_of_model(_string(given, "model"), name, params, prompts)
    prompt = prompt_of(prompts, params)
    form = given.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise request_error(f"encoding_format: {form!r}; must be 'float' or 'base64'")
    return Asked(_texts(given), prompt, _dimensions(given, dimension), form == "base64")


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except UnicodeDecodeError as problem:
        raise request_error(f"body: not UTF-8 at byte {problem.start}") from None
    except (json.JSONDecodeError, RecursionError) as problem:
        raise request_error(f"body: not JSON: {describe_exception(problem)}") from None
    if not isinstance(given, dict):
        raise request_error(f"body: {type(given).__name__}; must be an object with the key input")
    return given


def _string(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key)
    if value is not None and not isinstance(value, str):
        raise request_error(f"{key}: {value!r} is {type(value).__name__}, not a text")
    return value or ""


def _task_of_model(
    model: str, name: str, params: Mapping[str, str], prompts: Mapping[str, str | None]
) -> dict[str, str]:
    """The side and task in `model`: NAME (none) or NAME:TASK (queries of the task)."""
    own, _, task = model.partition(":")
    if model and own != name:
        raise request_error(
            f"model: {model!r}; must be {name!r}, or {name}:TASK with one of {', '.join(tasks_of(prompts))}"
        )
    if not task:
        return {}
    if params:
        raise request_error(f"model: {model!r} names a task, and so does {next(iter(params))}; send one of them")
    return {"side": "query", "task": task}


def _texts(given: Mapping[str, Any]) -> list[str]:
    if "input" not in given:
        raise request_error("input: missing; send a text or a list of texts")
    value = given["input"]
    if not isinstance(value, str | list):
        raise request_error(f"input: {value!r} is {type(value).__name__}; send a text or a list of texts")
    texts = texts_of([value] if isinstance(value, str) else value)
    if not 0 < len(texts) <= MOST_TEXTS:
        raise request_error(f"input: {len(texts)} texts; send 1 to {MOST_TEXTS:,}")
    for row, text in enumerate(texts):
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise request_error(f"row {row}: half a surrogate pair (\\ud800 to \\udfff) is no character; correct it")
    return texts


def _dimensions(given: Mapping[str, Any], dimension: int) -> int:
    value = given.get("dimensions")
    if value is None:
        return dimension
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= dimension:
        raise request_error(f"dimensions: {value!r}; must be a number from 1 to {dimension}")
    return value


def write_answer(asked: Asked, vectors: np.ndarray, tokens: int, model: str) -> bytes:
    """The answer's JSON; fewer dimensions are the first ones, normalised again."""
    if asked.dimensions < vectors.shape[1]:
        vectors = convert(vectors, f"dim{asked.dimensions}")
    rows = vectors.astype("<f4")
    shown = [base64.b64encode(row.tobytes()).decode() for row in rows] if asked.base64 else rows.tolist()
    data = [{"object": "embedding", "index": place, "embedding": one} for place, one in enumerate(shown)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps({"object": "list", "data": data, "model": model, "usage": usage}).encode()


def write_error(problem: str, kind: str = "invalid_request_error") -> bytes:
    """An error's JSON, as OpenAI's clients read it."""
    line = " ".join(problem.split())
    shown = line if len(line) <= MOST_SHOWN else f"{line[: MOST_SHOWN // 2]} ... {line[-MOST_SHOWN // 2 :]}"
    about = {"message": shown, "type": kind, "param": None, "code": None}
    return json.dumps({"error": about}).encode()


def reason_of(problem: MlflowException) -> str:
    """The line of a refusal."""
    return str(problem.message)
