"""Protocol bindings; here HTTP alone."""
