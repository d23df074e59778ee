"""Search texts of your own with the model that this checkout has trained, from Python.

    python examples/search_with_your_model.py my/texts.txt "is the sky blue" "can pigs fly"

The command for the same is `foundry ask`. Run it in the root of a checkout, after `make run`.
"""

import sys
from pathlib import Path

from components.serving.api import choose_task, nearest, read_corpus, trained_model


def search(root: Path, file: Path, questions: list[str], top: int = 3) -> list[list[tuple[float, str]]]:
    """For each question the best texts with their cosine similarity; vectors are kept in .cache/vectors."""
    model = trained_model(root / "outputs")  # registered_model(root, "production") takes it from the registry
    task = choose_task(model, "", root / "outputs")  # whose instruction and shots go before a question
    return nearest(model, task, questions, read_corpus(file), root / ".cache" / "vectors", top)


if __name__ == "__main__":
    asked = sys.argv[2:]
    for question, hits in zip(asked, search(Path.cwd(), Path(sys.argv[1]), asked), strict=True):
        print(question)
        for score, text in hits:
            print(f"  {score:.4f}  {text}")
