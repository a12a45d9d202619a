"""`python -m nfexport`."""

from nfexport.cli import main

if __name__ == "__main__":
    main()
