"""``python -m impasto``."""

from impasto.cli import main

if __name__ == "__main__":
    main()
