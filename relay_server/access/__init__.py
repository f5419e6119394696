"""Who may enter: identities and what each may do, how they prove themselves, and how often strangers may try."""
