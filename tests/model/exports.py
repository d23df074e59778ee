"""An exported student."""

from components.config import Config, parse_config
from components.contracts.shots import TaskPrompt
from components.contracts.tasks import Task
from components.model.backbone import load_tokenizer
from components.model.encoder import Encoder
from components.model.export import export_model, set_prompts
from components.model.prompt import Prompt, Shot
from components.training.train import add_adapter, save_adapter
from tests.models import randomise_adapter
from tests.samples import small_parameters

TASK = Task("sky", "retrieval", "Find it.", symmetric=False, weight=1.0, licence="none", source="test")
SHOTS = {"sky": (Shot("why is it so", "because of that"),)}


def export_of(student, template, folder) -> tuple:
    """(encoder, folder of the export, config) of `student` with a random adapter."""
    config: Config = parse_config(small_parameters(**{"prompt.template": template}), "test")
    tokenizer = load_tokenizer(student, config.prompt)
    model = add_adapter(student, tokenizer, config)
    randomise_adapter(model.parameters())
    save_adapter(model, folder / "adapter")
    export_model(student, folder / "adapter", folder / "export", config, [TASK])
    set_prompts(
        folder / "export", Prompt(tokenizer, config.prompt), {"sky": TaskPrompt(TASK.instruction, False, SHOTS["sky"])}
    )
    encoder = Encoder.load(student, config.prompt, config.encoder, folder / "adapter")
    return encoder, folder / "export", config
