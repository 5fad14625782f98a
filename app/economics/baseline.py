"""A compiled tool against doing the same by prompting, at the declared volume: pure arithmetic on named assumptions.

By prompting, a model is called `calls_per_item` times for each item of each run. Compiled, a run costs its CPU. The one call
in which an agent asks for the task is needed either way, so it is counted on neither side.

It refuses to be: a measurement. Figures come in; what is unknown stays unknown and is named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import Any

from app.economics.prices import Price, price_of_tokens
from app.spec.model import ExecutionSpec

CPU_HOUR_USD = Decimal("0.05")  # a shared virtual core of the large clouds, on demand, rounded up
_MS_PER_HOUR = Decimal(3_600_000)
_DIGITS = Decimal("0.00000001")


@dataclass(frozen=True, slots=True)
class Economics:
    """Amounts in US dollars; None where something is unknown, with the reason among the assumptions."""

    model: str
    calls_per_run: Decimal
    baseline_run_usd: Decimal | None
    run_usd: Decimal
    generation_usd: Decimal | None
    saving_per_run_usd: Decimal | None
    monthly_baseline_usd: Decimal | None
    monthly_saving_usd: Decimal | None
    break_even_runs: int | None
    assumptions: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON: amounts as text with eight digits, counts as numbers."""
        return {
            "model": self.model,
            "calls_per_run": float(self.calls_per_run),
            "baseline_run_usd": _text(self.baseline_run_usd),
            "run_usd": _text(self.run_usd),
            "generation_usd": _text(self.generation_usd),
            "saving_per_run_usd": _text(self.saving_per_run_usd),
            "monthly_baseline_usd": _text(self.monthly_baseline_usd),
            "monthly_saving_usd": _text(self.monthly_saving_usd),
            "break_even_runs": self.break_even_runs,
            "assumptions": list(self.assumptions),
        }


def compare(
    spec: ExecutionSpec,
    *,
    cpu_ms: float,
    generation_usd: Decimal | None,
    default_model: str,
    measured_items: int | None = None,
    cpu_hour_usd: Decimal = CPU_HOUR_USD,
    price: Callable[[str, int, int], Price] = price_of_tokens,
) -> Economics:
    """Set a measured run (`cpu_ms` for `measured_items`, None: for as many as a run has) against the spec's baseline.

    `generation_usd` None: the code was not generated here or its price is unknown; then there is no break-even to state.
    """
    volume, baseline = spec.volume, spec.baseline
    model = baseline.model or default_model
    call = price(model, baseline.input_tokens_per_call, baseline.output_tokens_per_call)
    calls = Decimal(str(baseline.calls_per_item)) * volume.items_per_run
    scale = Decimal(volume.items_per_run) / measured_items if measured_items else Decimal(1)
    run_usd = Decimal(str(cpu_ms)) / _MS_PER_HOUR * cpu_hour_usd * scale
    baseline_run = None if call.usd is None else call.usd * calls
    saving = None if baseline_run is None else baseline_run - run_usd
    assumptions = [
        f"By prompting, a run of {volume.items_per_run} items takes {calls.normalize():f} calls of {model}.",
        f"A call reads {baseline.input_tokens_per_call} tokens, none of them cached, and writes {baseline.output_tokens_per_call}.",
        _priced(call),
        f"A core costs {cpu_hour_usd} USD an hour; the measured run took {cpu_ms:g} ms of it" + _for(measured_items) + ".",
        f"There are {volume.runs_per_month} runs a month.",
        "The call in which an agent asks for the task is needed either way and counted on neither side.",
    ]
    if generation_usd is None:
        assumptions.append("What writing the code cost is not known here, so no break-even is stated.")
    return Economics(
        model=model,
        calls_per_run=calls,
        baseline_run_usd=baseline_run,
        run_usd=run_usd,
        generation_usd=generation_usd,
        saving_per_run_usd=saving,
        monthly_baseline_usd=None if baseline_run is None else baseline_run * volume.runs_per_month,
        monthly_saving_usd=None if saving is None else saving * volume.runs_per_month,
        break_even_runs=_break_even(generation_usd, saving),
        assumptions=tuple(assumptions),
    )


def _break_even(generation: Decimal | None, saving: Decimal | None) -> int | None:
    if generation is None or saving is None or saving <= 0:
        return None
    return int((generation / saving).to_integral_value(rounding=ROUND_CEILING))


def _priced(call: Price) -> str:
    if call.usd is None:
        return f"{call.prices} has no price for this model, so the baseline is not known."
    return f"{call.prices} prices such a call at {call.text} USD."


def _for(items: int | None) -> str:
    return f" for {items} items, and time grows with items" if items else ""


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount.quantize(_DIGITS, ROUND_HALF_UP), "f")
