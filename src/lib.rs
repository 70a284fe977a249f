//! Map comes here.

pub mod moment;
pub mod sampling;
pub mod trace;
