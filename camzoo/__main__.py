"""`python -m camzoo` is `camzoo`."""

from camzoo.cli import main

if __name__ == "__main__":
    main()
