"""Errors with a status, by which a sender knows whether to try again."""


class StatusError(Exception):
    """An error with a status of HTTP, from 400 to 599.

    Raised by an event function it decides what the sender does: Knative delivers
    again after 404, 408, 409, 429 and 5xx, and gives up after any other 4xx, so
    that the event goes to the dead letter sink.
    """

    def __init__(self, status_code: int, message: str):
        super().__init__(message)
        self.status_code = status_code


class Reject(StatusError):
    """The event must not be delivered again: another try would not help."""

    def __init__(self, message: str):
        super().__init__(422, message)


class Retry(StatusError):
    """The event should be delivered again. Any other exception has the same effect."""

    def __init__(self, message: str):
        super().__init__(503, message)


def status_of(problem: BaseException) -> int:
    """What Knit's runtime answers for what an event function raised."""
    status = getattr(problem, "status_code", None)
    if isinstance(status, int) and 400 <= status <= 599:
        return status
    return 504 if isinstance(problem, TimeoutError) else 500


def retriable(status: int) -> bool:
    """Whether a sender that gets the status tries again, by the rules of Knative's delivery."""
    return status in (404, 408, 409, 429) or status >= 500
