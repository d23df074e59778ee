"""`foundry serve`: a model behind an OpenAI-compatible `/v1/embeddings`, with health and dynamic batching.

    POST /v1/embeddings     see http.py
    GET  /v1/models         the model, and NAME:TASK for the queries of every task
    GET  /health            200 while the model answers, with queue length and totals

Token ids, their cut and the vectors are those of sentence-transformers on the same folder (shared_prefix.py); a batch
computes its prompt once. There is no authentication: loopback by default, and a proxy in front for anything else.
"""

import asyncio
import socket
from threading import Lock
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from mlflow.exceptions import MlflowException

from components.base.errors import UserError
from components.model.device import device_of
from components.model.shared_prefix import check_pooling, common_prefix, encode_ids, token_ids
from components.serving.ask import Model
from components.serving.batches import Batches, BusyError
from components.serving.http import read_request, reason_of, write_answer, write_error
from components.serving.sample import QuerySample
from components.tracking.embedder import tasks_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MOST_BYTES = 64 * 2**20  # of a request
JSON = "application/json"


class ServedModel:
    """A sentence-transformers model, its name, and the queue before it."""

    def __init__(self, model: "SentenceTransformer", name: str, token_budget: int, queue_tokens: int) -> None:
        """Raises UserError: the model does not pool the last token."""
        check_pooling(model)
        self.model, self.name = model.eval(), name
        self.dimension = int(model.get_embedding_dimension() or 0)
        self.sample: QuerySample | None = None  # of the queries, for the monitor; off
        self.batches = Batches(lambda ids: encode_ids(model, ids, token_budget), token_budget, queue_tokens)
        self._tokenising = Lock()  # a fast tokenizer must not be entered twice
        self._prefixes: dict[str, int] = {}

    async def embed(self, body: bytes) -> bytes:
        """The answer to a request.

        Raises:
            MlflowException: the request is refused.
            BusyError: too much waits.
        """
        asked = await asyncio.to_thread(read_request, body, self.name, self.model.prompts, self.dimension)
        task = self._task_of(asked.prompt)
        if self.sample is not None and task:
            await asyncio.to_thread(self.sample.note, task, asked.texts)
        ids = await asyncio.to_thread(self._tokenise, asked.texts, asked.prompt)
        vectors = await asyncio.wrap_future(self.batches.submit(asked.prompt, self._prefixes[asked.prompt], ids))
        return await asyncio.to_thread(write_answer, asked, vectors, sum(map(len, ids)), self.name)

    def _task_of(self, prompt: str) -> str:
        """The task whose queries stand behind this prompt; empty for documents."""
        tasks = tasks_of(self.model.prompts)
        return prompt if prompt in tasks else tasks[0] if prompt == "query" and tasks else ""

    def _tokenise(self, texts: list[str], prompt: str) -> list[list[int]]:
        with self._tokenising:
            if prompt not in self._prefixes:
                self._prefixes[prompt] = len(common_prefix(token_ids(self.model, ["a", "b"], prompt)))
            return token_ids(self.model, texts, prompt)


def new_app(served: ServedModel) -> FastAPI:
    """The routes."""
    app = FastAPI(title="Embedding Foundry", docs_url=None, redoc_url=None)

    async def embeddings(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return Response(write_error(f"body: over {MOST_BYTES:,} bytes; send fewer texts"), 413, media_type=JSON)
        try:
            return Response(await served.embed(body), media_type=JSON)
        except MlflowException as problem:
            return Response(write_error(reason_of(problem)), 400, media_type=JSON)
        except BusyError as problem:
            return Response(write_error(str(problem), "overloaded"), 503, {"Retry-After": "1"}, JSON)

    async def models() -> dict[str, Any]:
        names = [served.name, *(f"{served.name}:{task}" for task in tasks_of(served.model.prompts))]
        return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "foundry"} for name in names]}

    async def health(response: Response) -> dict[str, Any]:
        queue = served.batches
        response.status_code = 200 if queue.alive else 503
        counts = {"waiting_tokens": queue.waiting_tokens, "embedded": queue.embedded, "batches": queue.batches}
        return {"status": "ok" if queue.alive else "stopped", "model": served.name, **counts}

    app.add_api_route("/v1/embeddings", embeddings, methods=["POST"], response_model=None)
    app.add_api_route("/v1/models", models)
    app.add_api_route("/health", health)
    return app


async def _body(request: Request) -> bytes | None:
    """The request's bytes; None when there are more than MOST_BYTES."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def load_model(model: Model, name: str, device: str, token_budget: int, queue_tokens: int) -> ServedModel:
    """A trained or registered model, ready to be served under `name`.

    Raises:
        UserError: no such device, or the model does not pool the last token.
    """
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(model.folder), device=str(device_of(device)), local_files_only=True)
    loaded.prompts = dict(model.prompts)
    return ServedModel(loaded, name, token_budget, queue_tokens)


def check_port(host: str, port: int) -> None:
    """Raises UserError when nothing can listen there: before a model is loaded for minutes."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            raise UserError(f"{host}:{port}: {problem.strerror}; name another: --host, --port") from None


def run_server(served: ServedModel, host: str, port: int) -> None:
    """Answer until SIGTERM or Ctrl-C; requests that came in are finished."""
    import uvicorn

    uvicorn.run(new_app(served), host=host, port=port, log_level="warning", access_log=False)
    served.batches.close()
