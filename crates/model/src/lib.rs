//! The nouns of Portolan: services, instances, events, routes, HTTP heads. No I/O, no clock, no lock.
