"""Network adapters that several models share; torch lives here."""
