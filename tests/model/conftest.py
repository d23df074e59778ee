"""The students of other families than Mistral's, and an exported student."""

from pathlib import Path

import pytest

from tests.model.decoders import FAMILIES, write_decoder


@pytest.fixture(scope="session", params=list(FAMILIES))
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random two-layer student in the shape of Qwen3, Llama 3 and SmolLM2 in turn; named by family."""
    return write_decoder(tmp_path_factory.mktemp("decoders") / request.param, request.param)


@pytest.fixture(params=["special", "plain"])
def exported(request, tiny_student, tmp_path) -> tuple:
    """(encoder, folder of the export, config) of a tiny student, by prompt template."""
    from tests.model.exports import export_of

    return export_of(tiny_student, request.param, tmp_path)
