"""Continue from another adapter: `train.init_adapter` names a model of `fetch.models` whose format is adapter."""

import json
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.base.short_lines import describe_exception
from components.config import LoraParams
from components.model.locate import locate_model

_WEIGHTS = "adapter_model.safetensors"


def load_adapter(model: Any, folder: Path, lora: LoraParams) -> None:
    """Put the weights of a saved adapter into those of `model`, a peft model with a new adapter.

    Args:
        folder: of outputs/fetch/models, so the adapter's content is part of the run's inputs.

    Raises:
        UserError: there is no adapter, or one of another rank, scale or student.
    """
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    found = locate_model(folder) if (folder / "hub.json").is_file() else folder
    settings, weights = found / "adapter_config.json", found / _WEIGHTS
    if not settings.is_file() or not weights.is_file():
        raise UserError(
            f"{found}: no LoRA adapter here; declare fetch.models.{folder.name} with format: adapter, and run fetch"
        )
    saved = json.loads(settings.read_text(encoding="utf-8"))
    shape = {"rank": saved.get("r"), "alpha": saved.get("lora_alpha")}
    for name, value in shape.items():
        if value != getattr(lora, name):
            raise UserError(
                f"{settings}: the adapter has {name} {value}, and train.lora.{name} is {getattr(lora, name)}; set "
                f"train.lora: {{rank: {shape['rank']}, alpha: {shape['alpha']}}}"
            )
    tensors = load_file(weights)
    own = {name for name, weight in model.named_parameters() if weight.requires_grad}
    try:
        left: Any = set_peft_model_state_dict(model, tensors)
    except RuntimeError as problem:  # another shape
        raise UserError(f"{weights}: adapter of another student: {describe_exception(problem)}") from None
    missing = sorted(own & set(left.missing_keys)) + sorted(left.unexpected_keys)
    if missing:
        raise UserError(
            f"{weights}: adapter of another student or prompt.template: differs in {missing[0]}; name the student and "
            "the template that it was trained with"
        )
