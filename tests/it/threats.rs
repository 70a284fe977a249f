//! Threats: what strangers may send, and what they may learn by it.

mod canary;
mod cost;
mod doors;
mod headers;
mod logs;
mod series;
mod starts;
mod supply;
