"""What an operator does with stored events: replays, dead letters, previews, erasure; each audited."""
