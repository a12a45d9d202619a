"""An example of what other packages can add to nfexport."""
