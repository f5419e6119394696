"""Sources: each drives one generator of motion. Speech goes in; audio and motion payloads come out."""
