"""The objects that the operator makes, as the API server gets them."""
