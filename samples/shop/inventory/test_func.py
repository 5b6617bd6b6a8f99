"""Run with: python3 -m unittest"""

import os
import sqlite3
import tempfile
import threading
import unittest

import func
import knit
from knit.testing import Kit
from store import Store


def placed(order, *lines, id="1"):
    data = {"id": order, "customer": "ada", "lines": [{"sku": sku, "quantity": quantity, "cents": 1} for sku, quantity in lines]}
    return knit.Event("shop.order.placed", data, id=id, source="/functions/test/order-api", subject=order)


class InventoryTest(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.kit = self.enterContext(Kit())
        os.environ["INVENTORY_FILE"] = os.path.join(self.folder, "stock.db")
        self.addCleanup(os.environ.pop, "INVENTORY_FILE")
        self.addCleanup(self.close)

    def close(self):
        if func._opened is not None:
            func._opened.close()
        func._opened = None

    def deliver(self, event):
        return self.kit.deliver(func.handle, event)

    def left(self, *skus):
        return [func._store().quantity(sku) for sku in skus]

    def test_reserves_all_or_nothing(self):
        cases = (
            ("enough", [("tea", 2), ("cake", 1)], "shop.stock.reserved", None, [998, 19]),
            ("too little of one", [("tea", 2), ("cake", 20)], "shop.stock.rejected", "of cake there are 19, not 20", [998, 19]),
            ("an article that is not sold", [("tea", 2), ("wine", 1)], "shop.stock.rejected", "there is no wine", [998, 19]),
            ("the rest", [("cake", 19)], "shop.stock.reserved", None, [998, 0]),
        )
        for number, (name, lines, kind, reason, left) in enumerate(cases):
            with self.subTest(name):
                got = self.deliver(placed("o-%d" % number, *lines, id=str(number)))
                self.assertEqual((got.status, got.reply.type, got.reply.data.get("reason")), (200, kind, reason), got.error)
                self.assertEqual(got.reply.data["order"], "o-%d" % number)
                self.assertEqual(self.left("tea", "cake"), left)

    def test_an_order_that_comes_twice_is_reserved_once(self):
        first, again = self.deliver(placed("o-1", ("tea", 2))), self.deliver(placed("o-1", ("tea", 2)))
        self.assertEqual((first.reply.id, first.reply.type), (again.reply.id, again.reply.type))
        self.assertEqual(self.left("tea"), [998])

    def test_many_at_once(self):
        replies, store = [], Store(os.path.join(self.folder, "other.db"), func.STOCK)
        threads = [threading.Thread(target=lambda n=n: replies.append(store.reserve("o-%d" % n, {"cake": 3}))) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((replies.count(""), store.quantity("cake")), (6, 2))
        store.close()

    def test_the_stock_outlives_the_process(self):
        self.deliver(placed("o-1", ("tea", 2)))
        path = func._store().path
        func._opened.close()
        func._opened = Store(path, func.STOCK)
        self.assertEqual(self.left("tea"), [998])

    def test_what_is_no_order_is_not_delivered_again(self):
        for data in (None, [], {"id": "o-1"}, {"id": "o-1", "lines": [{"sku": "tea"}]}, {"id": "o-1", "lines": [{"sku": "tea", "quantity": 0}]}):
            with self.subTest(data=data):
                got = self.deliver(knit.Event("shop.order.placed", data))
                self.assertEqual((got.status, got.retried), (422, False))

    def test_a_broken_disk_is_tried_again(self):
        os.environ["INVENTORY_FILE"] = os.path.join(self.folder, "nowhere", "stock.db")
        got = self.deliver(placed("o-1", ("tea", 2)))
        self.assertEqual((got.status, got.retried, type(got.error)), (500, True, sqlite3.OperationalError))


if __name__ == "__main__":
    unittest.main()
