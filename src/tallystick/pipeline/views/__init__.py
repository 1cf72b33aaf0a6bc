"""What the inbox is read for: lists, timelines, which payment an event is of, how all stands."""
