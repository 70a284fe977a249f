//! Threats: what strangers may send, and what they may learn.
