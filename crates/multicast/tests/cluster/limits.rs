//! What intruders can make others hold and fetch is bounded.
