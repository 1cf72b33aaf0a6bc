"""What Tallystick tells the merchant's own systems."""
