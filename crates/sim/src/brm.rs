//! Reliable multicast with the wormholes' help, in a world of its own: ideal wormholes, a hostile
//! payload network, and any number of intruded processes.

pub mod ideal;
