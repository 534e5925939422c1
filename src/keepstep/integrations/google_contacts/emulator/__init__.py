"""An emulated Google: the People API's connections and the OAuth endpoints, with invented people."""
