"""The instance that the conformance suite drives. The other languages' fixtures behave alike."""

import os


def new():
    return Function()


class Function:
    """Prints the name of each method that is called."""

    def start(self, cfg):
        print("start", cfg.get("FIXTURE_WORD", ""))
        if cfg.get("FIXTURE_START") == "fail":
            raise ValueError("no database")

    async def handle(self, scope, receive, send):
        print("handle")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"handled"})

    def stop(self):
        print("stop")

    def ready(self):
        return os.environ.get("FIXTURE_READY") != "no"

    def alive(self):
        if os.environ.get("FIXTURE_ALIVE") == "no":
            raise ValueError("no pulse")
        return True
