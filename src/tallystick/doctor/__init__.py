"""``tallystick doctor``: whether everything that an installation needs is there, and what to do if not."""
