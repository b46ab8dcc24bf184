//! The reader of frames, from the runtime's own sources.

pub(crate) use crate::target;

#[path = "../../crates/runtime/src/transport/frame.rs"]
mod frame;
#[path = "targets/frames.rs"]
pub(crate) mod frames;
