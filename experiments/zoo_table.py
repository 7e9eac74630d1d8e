"""The page on the networks that are part of the package, from their cards."""

from __future__ import annotations

from typing import Any

from posterior_tables import LOW
from result_files import table

from ipads_stream import zoo as shipped
from ipads_stream.evaluation.tasks.quantities.calibration import CORRECTED
from ipads_stream.report.figures import NETWORK


def zoo() -> str:
    """All cards side by side."""
    cards = [shipped.card(name) for name in shipped.names()]
    head = ["network", "quantity", "by", "log-RMSE, %", "over the exact mean's",
            "50 %", "80 %", "90 %", "95 %"]  # fmt: skip
    rows = [cells for card in cards for cells in _rows(card)]
    made = [[f"`zoo:{card['name']}`", f"{card['parameters']:,}", f"{card['steps']:,}",
             f"{card['processor_seconds']:.0f}", card["version"], f"`{card['sha256'][:12]}`",
             f"`{card['stream']['params'][:12]}`"] for card in cards]  # fmt: skip
    commands = "\n".join(card["command"] for card in cards)
    return f"""# Networks that are part of the package

`checkpoint=zoo:t2_map`, `load_model("t2_map")`; `ipads-stream list zoo` has their ranges. Each
was made by one command, takes any protocol in the ranges of its system, and has a card beside its
weights (`ipads_stream/zoo`). There are none yet of spectra, images, myelin water, fingerprints or
z-spectra.

## What they give

On {cards[0]["test"]}:
the share of true values that intervals hold, by the network alone and corrected by the likelihood,
which is what `apply` writes.

{table(head, rows)}

Corrected intervals of 90 % that hold less than {100 * LOW:.0f} %: {_narrow(cards)}.

## How they were made

{
        table(
            [
                "network",
                "weights",
                "steps",
                "processor, s",
                "version",
                "SHA-256 of the file",
                "digest of the first 1,000 samples",
            ],
            made,
        )
    }

The digest is of the parameters of the first 1,000 samples of the stream, to six digits
(exponentials may differ in the last bit between processors); the card also holds some rendered
values, which agree to rounding. `make zoo` makes all anew:

```sh
{commands}
```
"""


def _rows(card: dict[str, Any]) -> list[list[str]]:
    errors = {(row["quantity"], row["method"]): row["log_rmse"] for row in card["scores"]}
    rows = []
    for row in card["calibration"]:
        if row["method"] not in (NETWORK, CORRECTED):
            continue
        key = (row["quantity"], row["method"])
        error = f"{100 * errors[key]:.2f}" if errors.get(key) is not None else "–"
        over = f"{row['over_exact']:.3f}" if row.get("over_exact") is not None else "–"
        held = [f"{100 * row[f'coverage_{level}']:.1f}" for level in (50, 80, 90, 95)]
        rows.append([f"`{card['name']}`", *key, error, over, *held])
    return rows


def _narrow(cards: list[dict[str, Any]]) -> str:
    """Quantities whose corrected intervals are too narrow, in words."""
    found = [f"{row['quantity']} of `{card['name']}`" for card in cards
             for row in card["calibration"]
             if row["method"] == CORRECTED and row["coverage_90"] < LOW]  # fmt: skip
    return ", ".join(found) or "none"
