"""`foundry export onnx`: a trained model for ONNX Runtime, transformers.js and sentence-transformers' ONNX backend.

    FOLDER/onnx/model.onnx    input_ids, attention_mask -> last_hidden_state, sentence_embedding (L2-normalised)
    FOLDER/                   tokenizer and settings as they are, without the PyTorch weights

Padding is on the right. The tokenizer puts bos and eos around a text, so a document is right as it is tokenized; a
query is the task's prompt, the text and `query_suffix` in one string (docs/serving.md).
"""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from components.base.errors import UserError
from components.serving.ask import Model
from components.serving.copies import copy_model, new_folder

if TYPE_CHECKING:
    import torch

OPSET = 17
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
ONE_FILE = 1.8e9  # bytes of weights that fit into one protobuf file; more go into files beside it


def export_onnx(model: Model, folder: Path) -> Path:
    """Write `model` into a new folder; returns the path of model.onnx. Weights are fp32.

    Raises:
        UserError: the folder exists, the extra `onnx` is not installed, or the model does not pool the last token.
    """
    try:
        import onnx  # noqa: F401  # torch.onnx.export imports it at its end
    except ImportError:
        raise UserError("export onnx: onnx is not installed; pip install -e .[onnx]") from None
    pooling = json.loads((model.folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    if not pooling.get("pooling_mode_lasttoken"):
        raise UserError(f"{model.folder}: does not pool the last token, so it cannot be exported; use PyTorch")
    with new_folder(folder) as draft:
        copy_model(model, draft, without=WEIGHTS)
        (draft / "onnx").mkdir()
        _write_graph(model.folder, draft / "onnx" / "model.onnx")
    return folder / "onnx" / "model.onnx"


def _write_graph(source: Path, file: Path) -> None:
    import torch
    from transformers import AutoModel

    backbone = AutoModel.from_pretrained(source, attn_implementation="eager", dtype=torch.float32).eval()
    size = sum(parameter.numel() * parameter.element_size() for parameter in backbone.parameters())
    ids = torch.ones(2, 7, dtype=torch.int64)
    texts = {0: "texts", 1: "tokens"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing; the test compares vectors over lengths and paddings
        torch.onnx.export(
            _pooled_model(backbone),
            (ids, torch.ones_like(ids)),
            str(file),
            input_names=["input_ids", "attention_mask"],
            output_names=["last_hidden_state", "sentence_embedding"],
            dynamic_axes={
                "input_ids": texts,
                "attention_mask": texts,
                "last_hidden_state": texts,
                "sentence_embedding": {0: "texts"},
            },
            opset_version=OPSET,
            external_data=size > ONE_FILE,
            dynamo=False,
        )


def _pooled_model(backbone: "torch.nn.Module") -> "torch.nn.Module":
    """The decoder with last-token pooling and normalization."""
    import torch

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = backbone

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            hidden = self.backbone(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            last = (mask.sum(1) - 1)[:, None, None].expand(-1, 1, hidden.shape[2])
            return hidden, torch.nn.functional.normalize(hidden.gather(1, last)[:, 0], dim=-1)

    return Pooled()
