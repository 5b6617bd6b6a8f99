"""HTTP events, under the names of the SDK's first generation."""

from cloudevents import conversion as _conversion
from cloudevents.conversion import to_binary, to_json, to_structured
from knit_runtime.cloudevent import CloudEvent


def from_http(headers, data, data_unmarshaller=None):
    return _conversion.from_http(CloudEvent, headers, data, data_unmarshaller)


def from_json(data, data_unmarshaller=None):
    return _conversion.from_json(CloudEvent, data, data_unmarshaller)


def from_dict(event):
    return _conversion.from_dict(CloudEvent, event)


def is_binary(headers):
    return any(str(name).lower() == "ce-specversion" for name in headers)


def is_structured(headers):
    return not is_binary(headers)


to_binary_http, to_structured_http = to_binary, to_structured

__all__ = ["CloudEvent", "from_dict", "from_http", "from_json", "is_binary", "is_structured",
           "to_binary", "to_binary_http", "to_json", "to_structured", "to_structured_http"]
