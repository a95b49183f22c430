"""Counterparts of the three clouds: moto for AWS, fakes of our own for GCP and Azure."""
