"""How far sound and face are apart, measured all the time."""
