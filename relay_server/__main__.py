"""`python -m relay_server`."""

from relay_server.cli import main

if __name__ == "__main__":
    main()
