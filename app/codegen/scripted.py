"""The model port's twin: it gives the answers that it was told to give, in order, and remembers what it was asked.

It refuses to be: clever. Out of answers it fails, as a model does that cannot be reached.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from app.codegen.port import Answer, Ask, error

USAGE = {"input_tokens": 2000, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 800}


def written(content: str, **more: Any) -> Answer:
    """A model that wrote a file."""
    return Answer("answered", "scripted", (USAGE,), {"content": content, "assumptions": [], "cannot_comply": [], **more})


def refused() -> Answer:
    """A model that will not."""
    return Answer("refused", "scripted", (USAGE,), error=error("model_refused", "The model refused.", "Reword the spec."))


class ScriptedModel:
    """A model port. `asked` lists the questions."""

    def __init__(self, answers: Iterable[Answer | Mapping[str, Any]] = ()) -> None:
        self._answers = deque(answers)
        self.asked: list[Ask] = []

    async def ask(self, ask: Ask) -> Answer:
        self.asked.append(ask)
        if not self._answers:
            return Answer("failed", ask.model, (), error=error("model_unreachable", "Nothing was scripted.", "Script an answer."))
        answer = self._answers.popleft()
        return answer if isinstance(answer, Answer) else Answer("answered", ask.model, (USAGE,), answer)
