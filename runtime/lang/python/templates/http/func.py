"""An HTTP function: every request comes here, whatever its method and path."""

import json
import logging


def new():
    """Makes the function. Knit calls it once for each instance that it starts."""
    return Function()


class Function:
    """handle is all that is needed; start, stop, alive and ready are there to be used."""

    def start(self, cfg):
        """Runs before the first request; cfg is a copy of the environment."""
        self.greeting = cfg.get("GREETING", "Hello")

    async def handle(self, scope, receive, send):
        """Answers one request, by the rules of ASGI."""
        logging.info("request for %s", scope["path"])
        body = json.dumps({"message": f"{self.greeting} from Knit!", "path": scope["path"]}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})
