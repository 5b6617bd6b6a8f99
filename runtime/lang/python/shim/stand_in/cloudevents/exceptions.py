"""The SDK's names for what is wrong with an event; here all are one."""

from knit_runtime.cloudevent import InvalidEvent

GenericException = MissingRequiredFields = InvalidRequiredFields = InvalidEvent
InvalidStructuredJSON = InvalidHeadersFormat = DataMarshallerError = DataUnmarshallerError = InvalidEvent
IncompatibleArgumentsError = PydanticFeatureNotInstalled = InvalidEvent
