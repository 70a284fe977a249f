//! The map of collimator.
