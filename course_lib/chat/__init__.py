"""Talk to a model: stream a reply, keep a conversation."""
