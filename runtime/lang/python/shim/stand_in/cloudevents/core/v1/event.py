"""The class of events."""

from knit_runtime.cloudevent import CloudEvent

__all__ = ["CloudEvent"]
