//! What a policy is: phase, exchange, chain and fault.
