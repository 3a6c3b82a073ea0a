"""`python -m fakescan`."""

from fakescan.cli import run

if __name__ == "__main__":
    run()
