//! What stands on the client's side of the trust boundary and votes for those who cannot.

pub mod base64;
pub mod connection;
pub mod limits;
pub mod picture;
