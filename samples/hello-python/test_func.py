"""Run with: python3 -m unittest"""

import unittest
from types import SimpleNamespace

import func


class HelloTest(unittest.TestCase):
    def test_a_request_is_greeted(self):
        self.assertEqual(func.handle(SimpleNamespace(headers={})), "Hello from Knit!\n")

    def test_an_event_is_logged(self):
        headers = {"ce-type": "dev.knit.hello", "ce-source": "/test", "ce-id": "1"}
        with self.assertLogs() as logged:
            self.assertIsNone(func.handle(SimpleNamespace(headers=headers)))
        record = logged.records[0]
        self.assertEqual((record.type, record.source, record.id), ("dev.knit.hello", "/test", "1"))


if __name__ == "__main__":
    unittest.main()
