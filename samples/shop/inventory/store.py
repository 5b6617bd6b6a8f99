"""The stock, in a file of SQLite that one process writes."""

import json
import sqlite3
import threading


class Store:
    """Counts articles and remembers for which orders it has reserved them."""

    def __init__(self, path, seed):
        self.path = path
        self._lock = threading.Lock()  # a plain function runs in many threads
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        with self._transaction():
            self._database.execute("CREATE TABLE IF NOT EXISTS stock (sku TEXT PRIMARY KEY, quantity INTEGER NOT NULL CHECK (quantity >= 0))")
            self._database.execute("CREATE TABLE IF NOT EXISTS reservations (id TEXT PRIMARY KEY, missing TEXT NOT NULL)")
            if not self._database.execute("SELECT 1 FROM stock").fetchone():
                with open(seed, encoding="utf-8") as file:
                    self._database.executemany("INSERT INTO stock VALUES (?, ?)", json.load(file).items())

    def reserve(self, order, quantities):
        """Takes all of it from the stock, once per order, and returns "", or takes nothing and says what is missing."""
        with self._lock, self._transaction():
            known = self._database.execute("SELECT missing FROM reservations WHERE id = ?", (order,)).fetchone()
            if known:
                return known[0]
            missing = self._missing(quantities)
            if not missing:
                for sku, quantity in quantities.items():
                    self._database.execute("UPDATE stock SET quantity = quantity - ? WHERE sku = ?", (quantity, sku))
            self._database.execute("INSERT INTO reservations VALUES (?, ?)", (order, missing))
            return missing

    def quantity(self, sku):
        """How much of an article is left; None when there never was any."""
        with self._lock:
            found = self._database.execute("SELECT quantity FROM stock WHERE sku = ?", (sku,)).fetchone()
        return found[0] if found else None

    def close(self):
        self._database.close()

    def _missing(self, quantities):
        for sku, quantity in quantities.items():
            found = self._database.execute("SELECT quantity FROM stock WHERE sku = ?", (sku,)).fetchone()
            if found is None:
                return "there is no %s" % sku
            if found[0] < quantity:
                return "of %s there are %d, not %d" % (sku, found[0], quantity)
        return ""

    def _transaction(self):
        return _Transaction(self._database)


class _Transaction:
    """All or nothing, also when the process ends in the middle."""

    def __init__(self, database):
        self._database = database

    def __enter__(self):
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind, _value, _trace):
        self._database.execute("ROLLBACK" if kind else "COMMIT")
