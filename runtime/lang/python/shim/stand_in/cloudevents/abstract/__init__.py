"""The class of events, under the SDK's name."""

from knit_runtime.cloudevent import CloudEvent

AnyCloudEvent = CloudEvent

__all__ = ["AnyCloudEvent", "CloudEvent"]
