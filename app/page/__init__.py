"""The page engine: addresses, classification, the envelope, frames. Pure: takes bytes, gives values, never awaits."""
