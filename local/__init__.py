"""The whole loop on one machine: real engines, an AWS emulator, supervision."""
