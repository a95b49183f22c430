"""Azure as a target: virtual machines and scale sets of Microsoft.Compute."""
