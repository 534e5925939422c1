"""What may be asked (``views``) and done (``commands``), the same for the command line and the web."""
