"""The engine on a real database and a real upstream."""
