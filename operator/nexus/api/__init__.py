"""The objects users write and read: models, reasons, CRDs, manifests."""
