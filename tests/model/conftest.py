"""The students of other families than Mistral's."""

from pathlib import Path

import pytest

from tests.model.decoders import FAMILIES, write_decoder


@pytest.fixture(scope="session", params=list(FAMILIES))
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random two-layer student in the shape of Qwen3, Llama 3 and SmolLM2 in turn; named by family."""
    return write_decoder(tmp_path_factory.mktemp("decoders") / request.param, request.param)
