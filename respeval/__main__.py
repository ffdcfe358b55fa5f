"""`python -m respeval`, which is what torchrun starts."""

from respeval.cli import main

if __name__ == "__main__":
    main()
