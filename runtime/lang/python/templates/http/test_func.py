"""Run with: python3 -m unittest"""

import asyncio
import json
import unittest

import func


class TestFunction(unittest.TestCase):
    def test_answers(self):
        sent = []

        async def send(message):
            sent.append(message)

        function = func.new()
        function.start({"GREETING": "Good day"})
        asyncio.run(function.handle({"type": "http", "path": "/a"}, None, send))
        self.assertEqual(sent[0]["status"], 200)
        self.assertEqual(json.loads(sent[1]["body"]), {"message": "Good day from Knit!", "path": "/a"})


if __name__ == "__main__":
    unittest.main()
