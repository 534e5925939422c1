"""What the tests of the engine and the store share."""
