"""Writes the orders and the exchange rates that examples/sales.yaml reads: python3 examples/orders/generate.py

The same bytes each time. One order a line, so that a reader finds order 2417 on line 1419.
"""

import json
import random
from pathlib import Path

HERE = Path(__file__).parent
DAY = "2026-11-23"
ORDERS = 4_000
PRODUCTS = {"kettle": 39.9, "lamp": 24.5, "teapot": 31.0, "clock": 18.75, "radio": 89.0, "scale": 44.25}
RATES = {"EUR": 1.0, "USD": 0.92, "GBP": 1.17, "JPY": 0.0061}  # euros for one
CURRENCIES = {"eu": ["EUR", "EUR", "EUR", "GBP"], "us": ["USD"], "apac": ["JPY", "USD"]}


def order(number: int, chance: random.Random) -> dict[str, object]:
    """One order; one in 500 says 0 pieces, or a currency for which there is no rate."""
    region = chance.choices(["eu", "us", "apac"], [5, 3, 2])[0]
    product = chance.choices(list(PRODUCTS), [6, 5, 4, 3, 2, 1])[0]
    currency = chance.choice(CURRENCIES[region])
    quantity = chance.choices([1, 2, 3, 10], [70, 20, 8, 2])[0]
    discount = chance.choices([0, 10, 25], [80, 15, 5])[0]
    price = round(PRODUCTS[product] / RATES[currency], 0 if currency == "JPY" else 2)
    match chance.randrange(1_000):
        case 0:
            quantity = 0
        case 1:
            currency = "XTS"
    return {
        "id": number,
        "region": region,
        "product": product,
        "quantity": quantity,
        "price": price,
        "currency": currency,
        "discount": discount,
    }


def main() -> None:
    """Write both files beside this one."""
    chance = random.Random(DAY)
    lines = [json.dumps(order(1_000 + n, chance), separators=(",", ":")) for n in range(ORDERS)]
    (HERE / f"{DAY}.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    (HERE / "rates.json").write_text(json.dumps(RATES) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
