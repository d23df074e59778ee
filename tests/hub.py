"""A stand-in of the Hugging Face hub on this machine, for tests of fetch, plan and locate.

Serves what huggingface_hub 2.4 asks for: the access check, the file list of a commit, and files with ranges.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Repositories by (kind, name), each files by path at any revision but those in `gone`; what was asked for."""

    repos: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)  # names of repositories without the revision asked for
    asked: list[str] = field(default_factory=list)  # "GET /api/...", "HEAD /..."

    def add(self, kind: str, name: str, files: dict[str, bytes]) -> None:
        self.repos.setdefault((kind, name), {}).update(files)

    def downloads(self) -> list[str]:
        """Paths of the files that were downloaded, in order."""
        asked = [one.partition("/resolve/")[2] for one in self.asked if one.startswith("GET /")]
        return [one.partition("/")[2] for one in asked if one]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *arguments: Any) -> None:
        """Write nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(self.path.partition("?")[0])
        self.hub.asked.append(f"{self.command} {path}")
        kind = "dataset" if path.startswith(("/datasets/", "/api/datasets/")) else "model"
        parts = path.removeprefix("/api").removeprefix("/datasets").removeprefix("/models").strip("/").split("/")
        name, action, rest = "/".join(parts[:2]), parts[2] if len(parts) > 2 else "", parts[3:]
        files = self.hub.repos.get((kind, name))
        if files is None:
            return self._refuse(404, "RepoNotFound")
        if name in self.hub.gated and action in ("auth-check", "resolve"):
            return self._refuse(403, "GatedRepo")
        if action == "auth-check":
            return self._send(b"{}", "application/json", body)
        if name in self.hub.gone:
            return self._refuse(404, "RevisionNotFound")
        if action == "tree":
            listed = [
                {"type": "file", "path": one, "size": len(data), "oid": _hash(data)} for one, data in files.items()
            ]
            return self._send(json.dumps(listed).encode(), "application/json", body)
        if action == "resolve" and "/".join(rest[1:]) in files:
            data = files["/".join(rest[1:])]
            return self._send(
                data, "application/octet-stream", body, {"ETag": f'"{_hash(data)}"', "X-Repo-Commit": rest[0]}
            )
        return self._refuse(404, "EntryNotFound")

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, data: bytes, kind: str, body: bool, headers: dict[str, str] | None = None) -> None:
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        for name, value in {**(headers or {}), "Content-Type": kind, "Content-Length": str(len(data) - start)}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data[start:])


def _hash(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@contextmanager
def serve_hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Hub]:
    """A hub that huggingface_hub asks in place of the real one, with its cache in the folder `cache`."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    values = {
        "ENDPOINT": address,
        "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": False,
    }
    for constant, value in values.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{constant}", value)
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """An empty stand-in of the hub, and an empty cache."""
    with serve_hub(monkeypatch, tmp_path / "hub-cache") as served:
        yield served
