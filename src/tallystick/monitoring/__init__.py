"""What operators see: metrics and logs. Declared here, used elsewhere."""
