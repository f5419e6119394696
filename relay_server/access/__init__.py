"""Access control: identities and their permissions, authentication, and rate limits for failed attempts."""
