//! Wire shapes of registries, foreign and native, and their mapping to the model. Pure.
