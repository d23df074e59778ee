"""What a service needs, under one import.

from components.serving.api import encode_task, load_production

model = load_production()                                         # a SentenceTransformer, prompts and shots in it
queries = encode_task(model, ["is the sky blue"], "boolq")        # the task's prompt goes through the model once
documents = model.encode_document(["The sky looks blue because ..."])
"""

from components.model.shared_prefix import encode_task
from components.tracking.load import load_production, load_version

__all__ = ["encode_task", "load_production", "load_version"]
