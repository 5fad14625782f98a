"""Arguments for a tool, proposed from its input schema and from its examples; and simpler ones for a call that failed.

Reads `{"schema", "examples": [{"args", "ends_well", "held_out"}], "known": [text], "hidden": [text], "seed", "count", "records"}` and
prints `{"proposals": [{"like", "args"}], "crowded": [{"records", "args"}]}`, `like` the index of an example or null; `crowded` has for each
example worlds of `records` by collection, with many more of their kind and with more in each, and its arguments with numbers as high as
they may be. Or reads `{"value"}` and prints `{"smaller": [...]}`.

Most proposals are an example that ends well with one place made anew or taken from another example, since a tool that looks up what it is
given does little with names that nobody knows; for the same reason half of the texts are `known` ones. What only held-out examples say
(their arguments, the `hidden` texts) goes into proposals like a held-out example alone, so that nobody reads it in a finding.

It refuses to be: sure. A proposal may break a keyword that is not understood here; the host's validator has the word.
"""

from __future__ import annotations

import copy
import json
import random
import sys
from typing import Any

from .bending import bent, crowded, greatest, swollen
from .patterns import Lean
from .values import Values, smaller

MOST_SMALLER = 200
_LEANING: dict[int, Lean] = {0: "high", 4: "low"}
"""Which of the proposals meet every bound at once."""


Example = dict[str, Any]


def propose(
    schema: dict[str, Any], examples: list[Example], known: list[str], hidden: list[str], seed: str, count: int
) -> list[dict[str, Any]]:
    """One in four anew, the others like an example; of those one in six with an odd text, and one at its bounds."""
    chance = random.Random(seed)  # noqa: S311 - it must be repeatable
    shown, all_known = Values(schema, chance, tuple(known)), Values(schema, chance, (*known, *hidden))
    open_examples = [example for example in examples if not example.get("held_out")]
    good = [index for index, example in enumerate(examples) if example["ends_well"]] or list(range(len(examples)))
    made: list[dict[str, Any]] = []
    for number in range(count):
        like = chance.choice(good) if good and number % 4 else None
        if number in _LEANING:
            like, args = None, Values(schema, chance, lean=_LEANING[number]).any_of(schema)
        elif like is None:
            args = shown.any_of(schema)
        elif number % 8 == 3:
            args = _varied(Values(schema, chance, lean=chance.choice(("low", "high"))), schema, examples[like], [])
        elif number % 8 == 1:
            args = bent(examples[like]["args"], schema, chance, number // 8)
        elif examples[like].get("held_out"):
            args = _varied(all_known, schema, examples[like], examples)
        else:
            args = _varied(shown, schema, examples[like], open_examples)
        made.append({"like": like, "args": args})
    return made


def _varied(values: Values, schema: dict[str, Any], like: Example, examples: list[Example]) -> Any:
    args, chance = copy.deepcopy(like["args"]), values.chance
    properties = schema.get("properties", {})
    for name in chance.sample(sorted(properties), min(len(properties), chance.choice((1, 1, 1, 2)))):
        others = [example["args"][name] for example in examples if name in example["args"]]
        if name in args and chance.random() < 0.2 and name not in schema.get("required", ()):
            del args[name]
        elif others and chance.random() < 0.4:
            args[name] = chance.choice(others)
        else:
            args[name] = values.any_of(properties[name], 1)
    return args


def main() -> None:
    request = json.load(sys.stdin)
    if "value" in request:
        few = [each for each, _ in zip(smaller(request["value"]), range(MOST_SMALLER), strict=False)]
        json.dump({"smaller": few}, sys.stdout)
    else:
        worlds = request.pop("records")
        crowds = [
            {
                "records": [{name: make(records) for name, records in world.items()} for make in (crowded, swollen)] if world else [],
                "args": greatest(example["args"], request["schema"]),
            }
            for example, world in zip(request["examples"], worlds, strict=True)
        ]
        json.dump({"proposals": propose(**request), "crowded": crowds}, sys.stdout)


if __name__ == "__main__":
    main()
