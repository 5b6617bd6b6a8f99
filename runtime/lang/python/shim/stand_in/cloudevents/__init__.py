"""A small stand-in for the CloudEvents SDK, for functions that do not bring it.

It has the part of the SDK that functions use: cloudevents.http and
cloudevents.conversion of its first generation, cloudevents.core of its second.
A cloudevents package among the function's requirements takes its place.
"""
