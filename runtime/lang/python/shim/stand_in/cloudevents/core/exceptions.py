"""What is wrong with an event."""

from knit_runtime.cloudevent import InvalidEvent

BaseCloudEventException = CloudEventValidationError = MissingRequiredAttributeError = InvalidEvent
InvalidAttributeTypeError = InvalidAttributeValueError = CustomExtensionAttributeError = InvalidEvent
