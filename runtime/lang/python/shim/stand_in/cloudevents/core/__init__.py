"""Names of the SDK's second generation."""
