"""Run with: pip install cloudevents, then python3 -m unittest"""

import unittest

from cloudevents.http import CloudEvent

import func


class TestFunction(unittest.TestCase):
    def test_replies(self):
        event = CloudEvent({"id": "7", "type": "com.example.order", "source": "/test"}, {"price": 12})
        reply = func.handle(event)
        self.assertEqual(reply["subject"], "7")
        self.assertEqual(reply.data, {"received": {"price": 12}})


if __name__ == "__main__":
    unittest.main()
