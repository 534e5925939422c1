"""Tells people when something needs them: rules find it, an outbox keeps the messages, channels deliver them."""
