"""Sources: each drives one maker of motion. Speech goes in; audio and motion payloads come out."""
