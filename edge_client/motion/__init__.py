"""Motion: payloads are decoded to poses and placed on the conversation's media line."""
