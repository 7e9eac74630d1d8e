"""Classical estimators, which networks are compared with."""
