"""The words of Keepstep as plain data. This package imports nothing of ours."""
