"""Motion: payloads are decoded to poses and laid on the conversation's media line."""
