"""The process around a Python function.

It serves HTTP/1.1 on PORT, answers the health checks, bounds every request,
turns an exception into a status and drains on SIGTERM; in job mode it calls
the function once. runtime/lang/python embeds these sources, and the buildpack
puts them into every image of a Python function. What the process promises is
written in runtime/CONTRACT.md. Imports are few, because every one of them is
paid for at each cold start.
"""
