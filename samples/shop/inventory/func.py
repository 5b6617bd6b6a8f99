"""Reserves stock for orders, all of an order or nothing."""

import logging
import os
from dataclasses import dataclass
from typing import List

import knit
from store import Store

STOCK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stock.json")


@dataclass
class Line:
    sku: str
    quantity: int

    def __post_init__(self):
        if self.quantity < 1:
            raise ValueError("quantity of %s is %d" % (self.sku, self.quantity))


@dataclass
class Order:
    id: str
    lines: List[Line]


@knit.typed(Order)
def handle(event):
    """Called for each order; see knit.yaml."""
    order = event.data
    missing = _store().reserve(order.id, {line.sku: line.quantity for line in order.lines})
    logging.info("stock %s", "rejected" if missing else "reserved", extra={"order": order.id, "missing": missing})
    if missing:
        return knit.Event("shop.stock.rejected", {"order": order.id, "reason": missing})
    return knit.Event("shop.stock.reserved", {"order": order.id})


_opened = None


def _store():
    """The stock, opened at the first order."""
    global _opened
    path = os.environ.get("INVENTORY_FILE", "/data/stock.db")
    if _opened is None or _opened.path != path:
        _opened = Store(path, STOCK)
    return _opened
