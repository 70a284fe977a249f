//! Pairs made here, files written here.
